//! The allow-list of hosts.

use crate::EndpointClientError;
use url::{Host, Url};

/// Whether a URL's host is among `entries`, as [`crate::ClientOptions::allowed_hosts`] has them. An entry that is no host
/// allows nothing.
#[must_use]
pub fn is_host_allowed(entries: &[String], url: &Url) -> bool {
    AllowedHosts::new("allowed_hosts", entries).is_ok_and(|hosts| hosts.allow(url))
}

/// The first entry that is no host, as the lists of [`crate::ClientOptions`] have them.
#[must_use]
pub fn find_unfit_host(entries: &[String]) -> Option<&str> {
    entries.iter().find(|entry| Rule::parse(entry).is_none()).map(String::as_str)
}

/// The hosts that may be called. An entry is a host name or address (`example.org`, `10.0.0.5`, `[::1]`), with `:port`
/// when only that port may be called, or `*.example.org` for every name below.
#[derive(Clone, Debug, Default)]
pub(crate) struct AllowedHosts(Vec<Rule>);

#[derive(Clone, Debug)]
struct Rule {
    host: String,
    below: bool,
    port: Option<u16>,
}

impl AllowedHosts {
    /// # Errors
    /// The first entry that is no host, with the name of the list.
    pub(crate) fn new(list: &'static str, entries: &[String]) -> Result<Self, EndpointClientError> {
        entries
            .iter()
            .map(|entry| Rule::parse(entry).ok_or_else(|| EndpointClientError::Host { list, entry: entry.clone() }))
            .collect::<Result<_, _>>()
            .map(AllowedHosts)
    }

    /// An empty list allows every host.
    pub(crate) fn allow(&self, url: &Url) -> bool {
        self.0.is_empty() || self.name(url)
    }

    /// Whether an entry names the host.
    pub(crate) fn name(&self, url: &Url) -> bool {
        self.0.iter().any(|rule| rule.matches(url))
    }
}

impl Rule {
    fn parse(entry: &str) -> Option<Self> {
        let (below, entry) = match entry.strip_prefix("*.") {
            Some(rest) => (true, rest),
            None => (false, entry),
        };
        // The URL parser brings host names and addresses into the form in which they are compared.
        let url = Url::parse(&format!("hosts://{entry}")).ok()?;
        let plain = url.path().is_empty() && url.query().is_none() && url.fragment().is_none();
        let host = Host::parse(url.host_str()?).ok()?;
        (plain && url.username().is_empty() && (!below || matches!(host, Host::Domain(_)))).then(|| Rule {
            host: host.to_string(),
            below,
            port: url.port(),
        })
    }

    fn matches(&self, url: &Url) -> bool {
        let Some(host) = url.host_str() else { return false };
        let named = if self.below {
            host.strip_suffix(&self.host).is_some_and(|front| front.len() > 1 && front.ends_with('.'))
        } else {
            host == self.host
        };
        named && self.port.is_none_or(|port| url.port_or_known_default() == Some(port))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(list: &[&str], url: &str) -> bool {
        let list: Vec<String> = list.iter().map(|entry| (*entry).to_owned()).collect();
        AllowedHosts::new("allowed_hosts", &list).unwrap().allow(&Url::parse(url).unwrap())
    }

    #[test]
    fn only_listed_hosts_are_allowed_and_an_empty_list_allows_all() {
        assert!(allowed(&[], "http://anything.example/x"));
        assert!(allowed(&["API.example.org"], "https://api.example.org/x"));
        assert!(!allowed(&["example.org"], "https://api.example.org/x"));
        assert!(!allowed(&["example.org"], "https://example.org.evil.net/"));
        assert!(!allowed(&["example.org"], "https://example.org@evil.net/"));
        assert!(allowed(&["10.0.0.5", "[::1]"], "http://[0:0::1]:8080/"));
        assert!(allowed(&["10.0.0.5"], "http://0x0a.0.0.5/"), "the same address in another form");
    }

    #[test]
    fn a_star_stands_for_names_below_and_a_port_for_that_port_only() {
        assert!(allowed(&["*.example.org"], "https://a.b.example.org/"));
        assert!(!allowed(&["*.example.org"], "https://example.org/"));
        assert!(!allowed(&["*.example.org"], "https://badexample.org/"));
        assert!(allowed(&["example.org:443"], "https://example.org/"));
        assert!(!allowed(&["example.org:443"], "http://example.org/"));
    }

    #[test]
    fn what_is_no_host_is_refused() {
        for entry in ["", "http://example.org", "example.org/path", "user@example.org", "*.10.0.0.5", "a b"] {
            let error = AllowedHosts::new("allowed_hosts", &[entry.to_owned()]).unwrap_err().to_string();
            assert_eq!(error, format!("allowed_hosts: {entry:?} is no host, host:port or *.domain"));
        }
    }
}
