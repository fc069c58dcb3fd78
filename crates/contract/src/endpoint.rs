//! The address of a store, as a resource gives it.

use std::fmt;
use std::net::IpAddr;

use url::{Host, Url};

use crate::Reason;

/// The most characters of an endpoint.
pub const MAX_LENGTH: usize = 512;

/// A checked endpoint: `https://host[:port]`, or `http://…` where the resource says `allowInsecure`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    url: Url,
    host: EndpointHost,
    port: u16,
}

/// The host of an endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EndpointHost {
    /// A name, in lower case, without a final dot.
    Name(String),
    /// A literal address; odd spellings such as `0x7f.1` are resolved to it.
    Address(IpAddr),
}

/// Why a text is no endpoint.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidEndpoint {
    /// Not a URL, or not one of a store.
    #[error("'{text}' is not a store's endpoint: {rule}; write it like https://gate.embassy.example")]
    NotAnEndpoint {
        /// What was given, without what may be a password.
        text: String,
        /// What it breaks.
        rule: &'static str,
    },
    /// `http` without permission.
    #[error(
        "'{text}' is not encrypted: use https, or set allowInsecure for a test store whose traffic nobody else can see"
    )]
    Insecure {
        /// What was given.
        text: String,
    },
}

impl InvalidEndpoint {
    /// The reason for conditions, events and metrics.
    #[must_use]
    pub const fn reason(&self) -> Reason {
        match self {
            Self::NotAnEndpoint { .. } => Reason::InvalidEndpoint,
            Self::Insecure { .. } => Reason::InsecureEndpoint,
        }
    }
}

impl Endpoint {
    /// Checks an endpoint; `allow_insecure` lets plain HTTP in.
    pub fn parse(text: &str, allow_insecure: bool) -> Result<Self, InvalidEndpoint> {
        let refuse = |shown: &str, rule| InvalidEndpoint::NotAnEndpoint {
            text: shown.to_owned(),
            rule,
        };
        if text.len() > MAX_LENGTH {
            return Err(refuse("…", "it has more than 512 characters"));
        }
        let url = Url::parse(text).map_err(|_| refuse("…", "it is not a URL"))?;
        // Letters outside ASCII take more room as they are resolved.
        if url.as_str().len() > MAX_LENGTH {
            return Err(refuse("…", "its host has more than 512 characters in ASCII"));
        }
        // A URL may carry a password, and messages end up in statuses and logs.
        if !url.username().is_empty() || url.password().is_some() {
            return Err(refuse(
                "…",
                "it carries a user name or password, which belong into the credentials Secret",
            ));
        }
        if !matches!(url.scheme(), "https" | "http") {
            return Err(refuse(text, "its scheme is neither https nor http"));
        }
        if url.query().is_some() || url.fragment().is_some() || !matches!(url.path(), "" | "/") {
            return Err(refuse(text, "it has a path, a query or a fragment"));
        }
        let host = match url.host() {
            Some(Host::Domain(name)) => EndpointHost::Name(name.trim_end_matches('.').to_ascii_lowercase()),
            Some(Host::Ipv4(address)) => EndpointHost::Address(address.into()),
            Some(Host::Ipv6(address)) => EndpointHost::Address(address.into()),
            None => return Err(refuse(text, "it has no host")),
        };
        if matches!(&host, EndpointHost::Name(name) if name.is_empty()) {
            return Err(refuse(text, "it has no host"));
        }
        if url.scheme() == "http" && !allow_insecure {
            return Err(InvalidEndpoint::Insecure {
                text: text.to_owned(),
            });
        }
        let port = url.port_or_known_default().unwrap_or(443);
        if port == 0 {
            return Err(refuse(text, "nothing can listen on port 0"));
        }
        Ok(Self { url, host, port })
    }

    /// The endpoint for the S3 client, without a final slash.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.url.as_str().trim_end_matches('/')
    }

    /// Who is called.
    #[must_use]
    pub const fn host(&self) -> &EndpointHost {
        &self.host
    }

    /// The port, 443 or 80 where none is written.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Whether the traffic is encrypted.
    #[must_use]
    pub fn is_secure(&self) -> bool {
        self.url.scheme() == "https"
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl fmt::Display for EndpointHost {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => formatter.write_str(name),
            Self::Address(address) => address.fmt(formatter),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_taken_with_and_without_port_and_slash() {
        let endpoint = Endpoint::parse("https://Store.Embassy.Example:9000/", false).unwrap();
        assert_eq!(endpoint.as_str(), "https://store.embassy.example:9000");
        assert_eq!(
            endpoint.host(),
            &EndpointHost::Name("store.embassy.example".into())
        );
        assert_eq!(endpoint.port(), 9000);
        assert_eq!(
            Endpoint::parse("https://store.example", false).unwrap().port(),
            443
        );
    }

    #[test]
    fn an_endpoint_is_as_short_in_ascii_as_it_is_written() {
        let text = |labels| format!("https://{}ee", "ä.".repeat(labels));
        let endpoint = Endpoint::parse(&text(20), false).unwrap();
        assert!(Endpoint::parse(endpoint.as_str(), false).is_ok());
        assert!(text(100).len() <= MAX_LENGTH);
        let error = Endpoint::parse(&text(100), false).unwrap_err();
        assert!(error.to_string().contains("512"), "{error}");
    }

    #[test]
    fn plain_http_needs_permission() {
        assert_eq!(
            Endpoint::parse("http://store.example", false)
                .unwrap_err()
                .reason(),
            Reason::InsecureEndpoint
        );
        assert!(!Endpoint::parse("http://store.example", true).unwrap().is_secure());
    }

    #[test]
    fn an_address_in_disguise_is_known_as_an_address() {
        for text in [
            "https://0x7f.1",
            "https://2130706433",
            "https://127.1",
            "https://0177.0.0.1",
        ] {
            let endpoint = Endpoint::parse(text, false).unwrap();
            assert_eq!(
                endpoint.host(),
                &EndpointHost::Address([127, 0, 0, 1].into()),
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_no_endpoint_is_refused() {
        for text in [
            "",
            "store.example",
            "store.example:9000",
            "ftp://store.example",
            "https://",
            "https://store.example/bucket",
            "https://store.example?x=1",
            "https://store.example#x",
            "https://store.example:0",
            "https://store.example:99999",
            "https://.",
        ] {
            assert_eq!(
                Endpoint::parse(text, true).unwrap_err().reason(),
                Reason::InvalidEndpoint,
                "{text:?}"
            );
        }
    }

    #[test]
    fn a_password_in_an_endpoint_is_refused_and_not_repeated() {
        for text in [
            "https://minio:hunter2@store.example",
            "https://hunter2@store.example",
            "https://:hunter2@store.example",
        ] {
            let error = Endpoint::parse(text, false).unwrap_err();
            assert!(!error.to_string().contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn an_endpoint_is_taken_up_to_its_last_character() {
        let text = |length: usize| {
            let host = "a".repeat(length - "https:///".len());
            format!("https://{host}/")
        };
        assert!(Endpoint::parse(&text(MAX_LENGTH), false).is_ok());
        assert!(Endpoint::parse(&text(MAX_LENGTH + 1), false).is_err());
    }
}
