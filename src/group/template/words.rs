//! Words that tell what the ones beside them are. None is the name of a product.

/// Units that stand behind a number and a blank.
pub(super) const UNITS: [&[u8]; 36] = [
    b"B", b"KB", b"kB", b"MB", b"GB", b"TB", b"KiB", b"MiB", b"GiB", b"TiB", b"K", b"M", b"G", b"kb", b"mb", b"gb", b"bit", b"kbps",
    b"Mbps", b"Gbps", b"KB/s", b"MB/s", b"ns", b"us", b"ms", b"s", b"sec", b"secs", b"msec", b"min", b"mins", b"hrs", b"%", b"Hz", b"MHz",
    b"GHz",
];

/// Last labels of host names that are not the first word of a package as well.
pub(super) const TOP_LABELS: [&[u8]; 13] =
    [b"com", b"net", b"org", b"edu", b"gov", b"mil", b"info", b"biz", b"local", b"internal", b"lan", b"localdomain", b"arpa"];

/// Labels under which countries give out names: `example.co.uk`.
pub(super) const SECOND_LABELS: [&[u8]; 9] = [b"com", b"co", b"edu", b"org", b"net", b"gov", b"ac", b"or", b"ne"];

/// What `=` and `:` may assign besides names and numbers.
pub(super) const TRUTHS: [&[u8]; 8] = [b"true", b"false", b"null", b"nil", b"None", b"True", b"False", b"NULL"];

/// What switches are set to. These are prepositions and answers, too, so what follows must end the value.
pub(super) const SWITCHES: [&[u8]; 4] = [b"on", b"off", b"yes", b"no"];

/// `for user root`: behind a preposition and the name of a kind of thing stands which one it is.
pub(super) const PREPOSITIONS: [&[u8]; 10] = [b"for", b"by", b"of", b"from", b"to", b"on", b"as", b"at", b"with", b"in"];
pub(super) const THINGS: [&[u8]; 8] = [b"user", b"username", b"account", b"host", b"hostname", b"node", b"client", b"group"];

/// `, host: "a.example"`: behind a comma and one of these names stands who or what it was about, up to the next comma. None of them says what
/// went wrong.
pub(super) const ATTRIBUTES: [&[u8]; 16] = [
    b"client",
    b"server",
    b"host",
    b"hostname",
    b"request",
    b"upstream",
    b"referrer",
    b"referer",
    b"user",
    b"node",
    b"peer",
    b"remote",
    b"url",
    b"uri",
    b"path",
    b"method",
];
