//! What OTLP's clients are told: `ExportLogsServiceResponse`, `google.rpc.Status` and `RetryInfo`.

use std::time::Duration;

use prost::Message;

/// `ExportLogsServiceResponse`. Empty: every record was taken.
#[derive(Clone, PartialEq, Message)]
pub struct Response {
    /// What was not taken, or what is odd.
    #[prost(message, optional, tag = "1")]
    pub partial_success: Option<PartialSuccess>,
}

/// `ExportLogsPartialSuccess`.
#[derive(Clone, PartialEq, Message)]
pub struct PartialSuccess {
    /// Records that were not taken and must not come again.
    #[prost(int64, tag = "1")]
    pub rejected_log_records: i64,
    /// For people.
    #[prost(string, tag = "2")]
    pub error_message: String,
}

/// `google.rpc.Status`, the body of a refusal.
#[derive(Clone, PartialEq, Message)]
pub struct Status {
    /// A code of gRPC.
    #[prost(int32, tag = "1")]
    pub code: i32,
    /// For people.
    #[prost(string, tag = "2")]
    pub message: String,
    /// [`RetryInfo`] where the request may come again.
    #[prost(message, repeated, tag = "3")]
    pub details: Vec<prost_types::Any>,
}

/// `google.rpc.RetryInfo`. Without it, clients do not repeat what met `RESOURCE_EXHAUSTED`.
#[derive(Clone, PartialEq, Message)]
pub struct RetryInfo {
    /// The pause before the next try.
    #[prost(message, optional, tag = "1")]
    pub retry_delay: Option<prost_types::Duration>,
}

impl Response {
    /// The answer to a request of which that many of `records` could not be read.
    #[must_use]
    pub fn of(rejected: u64, records: u64) -> Self {
        let partial_success = (rejected > 0).then(|| PartialSuccess {
            rejected_log_records: i64::try_from(rejected).unwrap_or(i64::MAX),
            error_message: format!("{rejected} of {records} log records cannot be read and were not taken"),
        });
        Self { partial_success }
    }

    /// The same as JSON.
    #[must_use]
    pub fn json(&self) -> String {
        match &self.partial_success {
            None => "{}".to_owned(),
            Some(partial) => serde_json::json!({ "partialSuccess": {
                // Whole numbers of 64 bits are texts.
                "rejectedLogRecords": partial.rejected_log_records.to_string(),
                "errorMessage": partial.error_message,
            }})
            .to_string(),
        }
    }
}

impl Status {
    /// A refusal. With a pause the request may come again.
    #[must_use]
    pub fn new(code: i32, message: String, pause: Option<Duration>) -> Self {
        let details = pause.map(|pause| {
            let seconds = i64::try_from(pause.as_secs()).unwrap_or(i64::MAX);
            let info = RetryInfo { retry_delay: Some(prost_types::Duration { seconds, nanos: 0 }) };
            prost_types::Any { type_url: "type.googleapis.com/google.rpc.RetryInfo".to_owned(), value: info.encode_to_vec() }
        });
        Self { code, message, details: details.into_iter().collect() }
    }

    /// The same as JSON; the pause is in the header.
    #[must_use]
    pub fn json(&self) -> String {
        serde_json::json!({ "code": self.code, "message": self.message }).to_string()
    }
}
