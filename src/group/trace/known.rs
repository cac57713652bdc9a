//! Whose code is a frame? What runtimes, standard libraries and well-known frameworks name their packages, and where packages of others are
//! installed. All else is the program's own.

use std::sync::LazyLock;

use super::fold::Language;

/// Beginnings of Java packages that no program of its own is in.
const JAVA: &[&str] = &[
    "java.",
    "javax.",
    "jakarta.",
    "jdk.",
    "sun.",
    "com.sun.",
    "oracle.",
    "kotlin.",
    "kotlinx.",
    "scala.",
    "groovy.",
    "clojure.",
    "akka.",
    "android.",
    "androidx.",
    "dalvik.",
    "$Proxy",
    "com.sun.proxy.",
    "org.springframework.",
    "org.apache.",
    "org.hibernate.",
    "org.eclipse.",
    "org.jboss.",
    "org.wildfly.",
    "io.undertow.",
    "io.netty.",
    "reactor.",
    "io.reactivex.",
    "rx.",
    "io.quarkus.",
    "io.micronaut.",
    "io.vertx.",
    "io.grpc.",
    "io.micrometer.",
    "io.opentelemetry.",
    "io.lettuce.",
    "io.projectreactor.",
    "com.zaxxer.",
    "com.fasterxml.",
    "com.google.common.",
    "com.google.inject.",
    "com.google.gson.",
    "com.google.protobuf.",
    "com.mysql.",
    "com.mongodb.",
    "com.datastax.",
    "com.microsoft.sqlserver.",
    "com.ibm.",
    "com.netflix.",
    "com.squareup.",
    "com.amazonaws.",
    "com.rabbitmq.",
    "org.postgresql.",
    "org.mariadb.",
    "org.h2.",
    "org.elasticsearch.",
    "org.redisson.",
    "redis.clients.",
    "org.junit.",
    "org.mockito.",
    "junit.",
    "org.slf4j.",
    "ch.qos.logback.",
    "okhttp3.",
    "okio.",
    "retrofit2.",
    "feign.",
    "net.bytebuddy.",
    "net.sf.cglib.",
    "org.aspectj.",
    "org.codehaus.",
    "org.glassfish.",
    "org.quartz.",
    "org.joda.",
    "software.amazon.",
    "liquibase.",
    "org.flywaydb.",
    "brave.",
    "play.",
    "org.jooq.",
    "org.xnio.",
    "org.yaml.",
    "org.ehcache.",
    "org.aopalliance.",
    "lombok.",
    "dagger.",
    "graphql.",
];

/// Beginnings of namespaces of .NET.
const DOT_NET: &[&str] = &[
    "System.",
    "Microsoft.",
    "Windows.",
    "Mono.",
    "Newtonsoft.",
    "Npgsql.",
    "MySql.",
    "MySqlConnector.",
    "StackExchange.",
    "Dapper.",
    "Serilog.",
    "NLog.",
    "Polly.",
    "AutoMapper.",
    "MediatR.",
    "MassTransit.",
    "RabbitMQ.",
    "Confluent.",
    "Grpc.",
    "Google.",
    "Azure.",
    "Amazon.",
    "FluentValidation.",
    "Swashbuckle.",
    "Hangfire.",
    "Quartz.",
    "Autofac.",
    "Castle.",
    "NHibernate.",
    "MongoDB.",
    "Elasticsearch.",
    "OpenTelemetry.",
    "Xunit.",
    "NUnit.",
    "lambda_method",
    "Interop.",
    "Internal.",
];

/// First parts of packages of Go's standard library.
const GO_STD: &[&str] = &[
    "archive",
    "bufio",
    "builtin",
    "bytes",
    "cmp",
    "compress",
    "container",
    "context",
    "crypto",
    "database",
    "debug",
    "embed",
    "encoding",
    "errors",
    "expvar",
    "flag",
    "fmt",
    "go",
    "hash",
    "html",
    "image",
    "index",
    "io",
    "iter",
    "log",
    "maps",
    "math",
    "mime",
    "net",
    "os",
    "path",
    "plugin",
    "reflect",
    "regexp",
    "runtime",
    "slices",
    "sort",
    "strconv",
    "strings",
    "structs",
    "sync",
    "syscall",
    "testing",
    "text",
    "time",
    "unicode",
    "unique",
    "unsafe",
    "vendor",
    "weak",
    "panic",
    "gopanic",
    "goexit",
];

/// Beginnings of Go modules that are frameworks wherever they are.
const GO: &[&str] = &[
    "golang.org/",
    "google.golang.org/",
    "go.uber.org/",
    "go.opentelemetry.io/",
    "github.com/gin-gonic/",
    "github.com/labstack/",
    "github.com/gorilla/",
    "github.com/go-chi/",
    "github.com/gofiber/",
    "github.com/valyala/",
    "github.com/spf13/",
    "github.com/urfave/",
    "github.com/sirupsen/",
    "github.com/rs/zerolog",
    "github.com/prometheus/",
    "github.com/grpc-ecosystem/",
    "github.com/jackc/",
    "github.com/lib/pq",
    "github.com/go-sql-driver/",
    "gorm.io/",
    "github.com/redis/",
    "github.com/go-redis/",
    "github.com/aws/",
    "cloud.google.com/",
    "k8s.io/apimachinery",
    "k8s.io/client-go",
    "sigs.k8s.io/controller-runtime",
    "go.mongodb.org/",
    "go.etcd.io/",
    "github.com/stretchr/",
    "github.com/pkg/errors",
    "github.com/go-kit/",
    "github.com/julienschmidt/",
    "github.com/segmentio/",
];

/// Where Go keeps the source of its library and of modules of others.
const GO_PATHS: &[&str] =
    &["/pkg/mod/", "/vendor/", "/go/src/runtime/", "/usr/local/go/src/", "/usr/lib/go", "/libexec/src/", "/hostedtoolcache/go/"];

/// Beginnings of crates and of what the system calls before `main`, as they stand in names of functions.
static RUST: LazyLock<Vec<&str>> = LazyLock::new(|| include_str!("rust.txt").lines().collect());

/// Parts of paths that no code of the program's own is at.
const PYTHON_PATHS: &[&str] = &[
    "/site-packages/",
    "/dist-packages/",
    "/lib/python",
    "/lib64/python",
    "<frozen ",
    "\\lib\\",
    "/opt/python/",
    "<string>",
    "<decorator",
];

/// See [`PYTHON_PATHS`].
const NODE_PATHS: &[&str] = &[
    "/node_modules/",
    "\\node_modules\\",
    "node:",
    "internal/",
    "<anonymous>",
    "native",
    "index ",
    "eval at ",
    "webpack/bootstrap",
    "/.yarn/",
    "/.pnpm/",
];

/// Files of the library of old versions of Node, which stand without a path.
const NODE_FILES: &[&str] = &[
    "net.js",
    "events.js",
    "fs.js",
    "module.js",
    "timers.js",
    "_http_client.js",
    "_http_server.js",
    "_stream_readable.js",
    "_stream_writable.js",
    "domain.js",
    "dns.js",
    "tty.js",
    "child_process.js",
    "bootstrap_node.js",
];

/// See [`PYTHON_PATHS`].
const RUBY_PATHS: &[&str] =
    &["/gems/", "/lib/ruby/", "/rubygems/", "<internal:", "/bundler/", "/usr/bin/", "/usr/local/bin/", "/rubies/", "(eval", " ("];

fn begins(name: &str, list: &[&str]) -> bool {
    list.iter().any(|prefix| name.starts_with(prefix))
}

fn holds(path: &[u8], list: &[&str]) -> bool {
    list.iter().any(|part| memchr::memmem::find(path, part.as_bytes()).is_some())
}

/// True when a frame is of the program's own code. `name` is as [`super::name`] makes it, `file` the path of the source, where one is known.
pub(super) fn is_own(language: Language, name: &str, file: &[u8]) -> bool {
    match language {
        Language::Unknown => true,
        Language::Java => !begins(name, JAVA),
        Language::DotNet => !begins(name, DOT_NET),
        Language::Go => {
            let package = name.split('.').next().unwrap_or_default();
            let first = package.split('/').next().unwrap_or_default();
            let is_std = !package.contains('/') && GO_STD.contains(&first)
                || package.contains('/') && !name[..name.find('/').unwrap_or(0)].contains('.') && GO_STD.contains(&first);
            !is_std && !begins(name, GO) && !holds(file, GO_PATHS)
        }
        Language::Rust => {
            let plain = name.trim_start_matches('<');
            !begins(plain, &RUST) && !file.starts_with(b"/rustc/") && !holds(file, &["/.cargo/registry/", "/.cargo/git/", "/rust/deps/"])
        }
        Language::Python => !holds(file, PYTHON_PATHS),
        Language::Node => !holds(file, NODE_PATHS) && !NODE_FILES.iter().any(|known| file == known.as_bytes()),
        Language::Ruby => !holds(file, RUBY_PATHS),
    }
}
