//! Who may connect, and what they may publish and subscribe to.

use super::BrokerError;
use super::options::{AclOptions, BrokerOptions};
use super::topic;
use super::wire::reason::Reason;
use argon2::Argon2;
use argon2::password_hash::PasswordVerifier;
use argon2::password_hash::phc::PasswordHash;
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::Semaphore;

/// So many passwords are checked at a time: each takes its hash's memory (19 MiB with the usual parameters).
const CHECKS_AT_A_TIME: usize = 2;

/// All users, and what is allowed.
#[derive(Debug)]
pub(crate) struct Gatekeeper {
    users: BTreeMap<String, User>,
    allow_anonymous: bool,
    everyone: Arc<Lists>,
    checks: Arc<Semaphore>,
}

#[derive(Debug)]
struct User {
    hash: Arc<str>,
    lists: Arc<Lists>,
}

/// Allowed filters, with `%u` and `%c` still in them.
#[derive(Debug)]
struct Lists {
    publish: Vec<String>,
    subscribe: Vec<String>,
}

/// What one client may do.
#[derive(Clone, Debug)]
pub(crate) struct Rights {
    /// Filters; `None` allows everything.
    publish: Option<Vec<String>>,
    subscribe: Option<Vec<String>>,
}

impl Gatekeeper {
    /// Checks the users of the configuration.
    pub(crate) fn new(options: &BrokerOptions) -> Result<Self, BrokerError> {
        let everyone = Arc::new(lists(&options.acl)?);
        let mut users = BTreeMap::new();
        for (name, user) in &options.users {
            let wrong = |why: String| BrokerError::Options(format!("users.{name}: {why}"));
            PasswordHash::new(&user.password).map_err(|error| {
                wrong(format!(
                    "password is not an argon2 PHC string ({error}); make one with `hearthgate broker passwd`"
                ))
            })?;
            let acl = AclOptions {
                publish: user.publish.clone().unwrap_or_else(|| options.acl.publish.clone()),
                subscribe: user.subscribe.clone().unwrap_or_else(|| options.acl.subscribe.clone()),
            };
            let lists = Arc::new(lists(&acl)?);
            users.insert(name.clone(), User { hash: user.password.as_str().into(), lists });
        }
        let allow_anonymous = options.allow_anonymous;
        Ok(Gatekeeper { users, allow_anonymous, everyone, checks: Arc::new(Semaphore::new(CHECKS_AT_A_TIME)) })
    }

    /// Whether anyone may connect without a name.
    pub(crate) fn is_open(&self) -> bool {
        self.users.is_empty() && self.allow_anonymous
    }

    /// Checks name and password; the user's name where there are users. Without users a verified certificate
    /// (`is_certified`) is enough. The hash is computed on another thread.
    pub(crate) async fn admit(
        &self,
        user: Option<&str>,
        password: Option<Vec<u8>>,
        is_certified: bool,
    ) -> Result<Option<Arc<str>>, Reason> {
        if self.users.is_empty() {
            return if self.allow_anonymous || is_certified { Ok(None) } else { Err(Reason::NotAuthorized) };
        }
        let Some(name) = user else { return Err(Reason::NotAuthorized) };
        let password = password.unwrap_or_default();
        // An unknown name costs what a known one does, so that names can't be found out by the clock.
        let known = self.users.get(name);
        let Some(hash) = known.or_else(|| self.users.values().next()).map(|user| user.hash.clone()) else {
            return Err(Reason::BadUserNameOrPassword);
        };
        let _permit = self.checks.acquire().await.map_err(|_| Reason::ServerUnavailable)?;
        let right = tokio::task::spawn_blocking(move || {
            PasswordHash::new(&hash).is_ok_and(|hash| Argon2::default().verify_password(&password, &hash).is_ok())
        })
        .await
        .map_err(|_| Reason::ServerUnavailable)?;
        if right && known.is_some() { Ok(Some(name.into())) } else { Err(Reason::BadUserNameOrPassword) }
    }

    /// What a client may do, with the names put in.
    pub(crate) fn rights(&self, user: Option<&str>, client_id: &str) -> Rights {
        let lists = user.and_then(|name| self.users.get(name)).map_or(&self.everyone, |user| &user.lists);
        Rights {
            publish: put_in(&lists.publish, user, client_id),
            subscribe: put_in(&lists.subscribe, user, client_id),
        }
    }
}

impl Rights {
    pub(crate) fn may_publish(&self, name: &str) -> bool {
        // `$`-topics belong to the broker, whatever the lists say.
        !name.starts_with('$')
            && self.publish.as_ref().is_none_or(|allowed| allowed.iter().any(|filter| topic::matches(filter, name)))
    }

    pub(crate) fn may_subscribe(&self, filter: &str) -> bool {
        let inner = topic::shared(filter).flatten().map_or(filter, |(_, inner)| inner);
        self.subscribe.as_ref().is_none_or(|allowed| allowed.iter().any(|outer| topic::covers(outer, inner)))
    }
}

fn lists(acl: &AclOptions) -> Result<Lists, BrokerError> {
    for filter in acl.publish.iter().chain(&acl.subscribe) {
        if !topic::is_filter(filter) {
            return Err(BrokerError::Options(format!("acl: {filter:?} is not a topic filter")));
        }
    }
    Ok(Lists { publish: acl.publish.clone(), subscribe: acl.subscribe.clone() })
}

/// `None` when everything is allowed. A name that would change the filter's meaning allows nothing.
fn put_in(filters: &[String], user: Option<&str>, client_id: &str) -> Option<Vec<String>> {
    if filters.iter().any(|filter| filter == "#") {
        return None;
    }
    let plain = |name: &str| !name.is_empty() && !name.contains(['+', '#', '/']);
    let fits = |filter: &&String| {
        (!filter.contains("%u") || user.is_some_and(plain)) && (!filter.contains("%c") || plain(client_id))
    };
    let replaced = |filter: &String| {
        // In one pass, so that a user named "%c" stays what it is.
        let mut parts = filter.split("%u").map(|part| part.replace("%c", client_id));
        let first = parts.next().unwrap_or_default();
        parts.fold(first, |done, part| done + user.unwrap_or_default() + &part)
    };
    Some(filters.iter().filter(fits).map(replaced).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rights(publish: &[&str], subscribe: &[&str], user: Option<&str>, client: &str) -> Rights {
        let own = |filters: &[&str]| filters.iter().map(|&filter| filter.to_owned()).collect::<Vec<_>>();
        Rights { publish: put_in(&own(publish), user, client), subscribe: put_in(&own(subscribe), user, client) }
    }

    #[test]
    fn lists_allow_what_lies_within_them_and_nothing_else() {
        let rights = rights(&["home/%u/#"], &["home/+/state", "to/%c"], Some("ann"), "c1");
        assert!(rights.may_publish("home/ann/x") && !rights.may_publish("home/bob/x"));
        assert!(rights.may_subscribe("home/a/state") && rights.may_subscribe("home/+/state"));
        assert!(rights.may_subscribe("$share/g/to/c1") && !rights.may_subscribe("$share/g/to/c2"));
        assert!(!rights.may_subscribe("#") && !rights.may_subscribe("home/#"));
    }

    #[test]
    fn a_name_with_a_wildcard_opens_nothing() {
        let rights = rights(&["home/%u"], &["to/%c/#"], Some("+"), "#");
        assert!(!rights.may_publish("home/x") && !rights.may_publish("home/+"));
        assert!(!rights.may_subscribe("to/x/y"));
    }

    #[test]
    fn a_name_is_not_substituted_twice() {
        let rights = rights(&["a/%u"], &[], Some("%c"), "victim");
        assert!(!rights.may_publish("a/victim"));
        assert!(rights.may_publish("a/%c"));
    }

    #[test]
    fn dollar_topics_are_never_published_by_clients() {
        assert!(!rights(&["#"], &["#"], None, "c").may_publish("$SYS/broker"));
    }
}
