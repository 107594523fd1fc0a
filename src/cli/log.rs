//! How a log line looks: for people, or a JSON object.

use std::io::Write as _;

use crate::config::{LogConfig, LogFormat};

/// Installs the logger. `RUST_LOG` wins over the settings. It writes to standard error.
pub fn install(config: &LogConfig) {
    // actix tells of each worker it starts and stops; the hub's own lines say what matters of it.
    // What a stranger breaks is counted by reason, not logged line by line.
    let filter = format!("actix_server=warn,actix_http::ws=off,{}", config.level);
    let env = env_logger::Env::default().default_filter_or(filter);
    let mut builder = env_logger::Builder::from_env(env);
    builder.format_timestamp_millis();
    if config.format == LogFormat::Json {
        builder.format(|out, record| {
            let line = serde_json::json!({
                "at": out.timestamp_millis().to_string(),
                "level": record.level().as_str(),
                "target": record.target(),
                "message": record.args().to_string(),
            });
            writeln!(out, "{line}")
        });
    }
    builder.init();
}
