//! The door for syslog: what its section of the configuration comes to.

use std::net::SocketAddr;

use crate::collect::syslog::Syslog;
use crate::collect::{Certificates, Doors, Socket, SocketLimits};
use crate::serve::config::{SyslogConfig, TlsConfig};
use crate::serve::listener::{self, BindError};
use crate::serve::tls::Tls;
use crate::telemetry::Registry;

/// What the section names and a start needs.
pub(super) struct SyslogAccess {
    config: SyslogConfig,
    pub(super) tls: Option<Tls>,
}

impl SyslogAccess {
    /// Reads certificates.
    ///
    /// # Errors
    /// With every problem, each beginning with its setting.
    pub(super) fn load(config: &SyslogConfig) -> Result<Self, Vec<String>> {
        let mut problems = Vec::new();
        let SyslogConfig { udp, tcp, tls, .. } = config;
        if udp.is_none() && tcp.is_none() && tls.is_none() {
            problems.push("serve.syslog listens nowhere: write udp, tcp or tls with an address, or leave the section out".to_owned());
        }
        let open = [("udp", udp.as_ref().map(|at| at.address)), ("tcp", tcp.as_ref().map(|at| at.address))];
        let trusted = tls.as_ref().filter(|tls| tls.client_ca_file.is_none()).map(|tls| tls.address);
        for (name, address) in open.into_iter().chain([("tls", trusted)]) {
            if let Some(address) = address.filter(|address| !config.allow_unauthenticated && !address.ip().to_canonical().is_loopback()) {
                let instead =
                    if name == "tls" { "add serve.syslog.tls.client_ca_file" } else { "use serve.syslog.tls with client_ca_file" };
                problems.push(format!(
                    "serve.syslog.{name}.address {address} is not on loopback, and syslog has no keys: {instead}, or set \
                     serve.syslog.allow_unauthenticated: true to let everybody who can reach it send"
                ));
            }
        }
        let tls = tls.as_ref().map(|tls| {
            let files = TlsConfig { cert_file: tls.cert_file.clone(), key_file: tls.key_file.clone() };
            Tls::load_for(&files, tls.client_ca_file.as_deref())
        });
        let tls = tls.transpose().map_err(|error| problems.push(format!("serve.syslog.tls: {error}"))).unwrap_or_default();
        if problems.is_empty() { Ok(Self { config: config.clone(), tls }) } else { Err(problems) }
    }

    /// Takes the addresses, and gives the door with those of UDP, TCP and TLS.
    ///
    /// # Errors
    /// When an address cannot be had.
    pub(super) async fn open(&self, doors: Doors, registry: &Registry) -> Result<(Syslog, Vec<(&'static str, SocketAddr)>), BindError> {
        let SyslogConfig { udp, tcp, tls, .. } = &self.config;
        let limits = SocketLimits {
            max_connections: self.config.max_connections,
            handshake_timeout: self.config.handshake_timeout.0,
            idle_timeout: self.config.idle_timeout.0,
            drain_timeout: self.config.drain_timeout.0,
        };
        let (mut addresses, mut sockets) = (Vec::new(), Vec::new());
        let datagrams = match udp {
            Some(udp) => {
                let (socket, address) = listener::bind_udp("syslog.udp", udp.address).await?;
                addresses.push(("udp", address));
                Some(socket)
            }
            None => None,
        };
        if let Some(tcp) = tcp {
            let (tcp, address) = listener::bind("syslog.tcp", tcp.address).await?;
            addresses.push(("tcp", address));
            sockets.push(Socket { tcp, certificates: None, limits: limits.clone() });
        }
        if let Some((config, tls)) = tls.as_ref().zip(self.tls.clone()) {
            let (tcp, address) = listener::bind("syslog.tls", config.address).await?;
            addresses.push(("tls", address));
            sockets.push(Socket { tcp, certificates: Some(Certificates::new(move || tls.bare_config())), limits });
        }
        Ok((Syslog::new(sockets, datagrams, doors, registry), addresses))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::serve::config::SyslogAddress;

    fn problems(config: SyslogConfig) -> String {
        SyslogAccess::load(&config).err().unwrap_or_default().join("\n")
    }

    #[test]
    fn an_address_that_everybody_reaches_takes_a_word() {
        let open = || Some(SyslogAddress { address: "0.0.0.0:5514".parse().expect("an address") });
        let near = Some(SyslogAddress { address: "127.0.0.1:5514".parse().expect("an address") });
        assert!(problems(SyslogConfig::default()).contains("listens nowhere"));
        assert_eq!(problems(SyslogConfig { udp: near, ..SyslogConfig::default() }), "");
        let told = problems(SyslogConfig { udp: open(), tcp: open(), ..SyslogConfig::default() });
        for part in ["serve.syslog.udp.address 0.0.0.0:5514 is not on loopback", "serve.syslog.tcp.address", "use serve.syslog.tls"] {
            assert!(told.contains(part), "{part} not in\n{told}");
        }
        assert_eq!(problems(SyslogConfig { udp: open(), allow_unauthenticated: true, ..SyslogConfig::default() }), "");
    }
}
