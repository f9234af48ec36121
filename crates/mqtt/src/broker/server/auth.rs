//! Who may connect, and what they may publish and subscribe to.

use crate::broker::error::BrokerOptionError;
use crate::broker::options::{AclOptions, BrokerOptions};
use crate::broker::topic;
use crate::codec::reason::ReasonCode;
use argon2::password_hash::PasswordVerifier;
use argon2::password_hash::phc::PasswordHash;
use argon2::{Algorithm, Argon2, Params};
use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::{Arc, Weak};
use tokio::sync::Semaphore;

/// So many passwords are checked at a time: each takes its hash's memory (19 MiB with the usual parameters).
const CHECKS_AT_A_TIME: usize = 2;

/// All users, and what is allowed.
#[derive(Debug)]
pub(crate) struct AccessControl {
    users: BTreeMap<String, User>,
    allow_anonymous: bool,
    anonymous: AclOptions,
    checks: Arc<Semaphore>,
    /// One check at a time for each address, so that who guesses takes nothing from others.
    by_address: RefCell<HashMap<IpAddr, Weak<Semaphore>>>,
    /// Cheap digests of the last right password of each user, for this process only.
    remembered: RefCell<HashMap<Arc<str>, [u8; 32]>>,
    salt: [u8; 16],
}

#[derive(Debug)]
struct User {
    hash: Arc<str>,
    lists: AclOptions,
}

/// What one client may do.
#[derive(Clone, Debug, Default)]
pub(crate) struct ClientRights {
    /// Filters; `None` allows everything.
    publish: Option<Arc<[String]>>,
    subscribe: Option<Arc<[String]>>,
    forbidden: Arc<[String]>,
}

impl AccessControl {
    /// Checks the users of the configuration.
    pub(crate) fn new(options: &BrokerOptions) -> Result<Self, BrokerOptionError> {
        check_filters("anonymous", &options.anonymous)?;
        let mut users = BTreeMap::new();
        for (name, user) in &options.users {
            PasswordHash::new(&user.password)
                .map_err(|problem| BrokerOptionError::Password { user: name.clone(), problem })?;
            check_filters(&format!("users.{name}"), &user.acl)?;
            users.insert(name.clone(), User { hash: user.password.as_str().into(), lists: user.acl.clone() });
        }
        let (allow_anonymous, anonymous) = (options.allow_anonymous, options.anonymous.clone());
        Ok(AccessControl {
            users,
            allow_anonymous,
            anonymous,
            checks: Arc::new(Semaphore::new(CHECKS_AT_A_TIME)),
            by_address: RefCell::default(),
            remembered: RefCell::default(),
            salt: fastrand::u128(..).to_ne_bytes(),
        })
    }

    /// Whether there is such a user.
    pub(crate) fn knows(&self, user: &str) -> bool {
        self.users.contains_key(user)
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
        address: IpAddr,
    ) -> Result<Option<Arc<str>>, ReasonCode> {
        if self.users.is_empty() {
            return if self.allow_anonymous || is_certified { Ok(None) } else { Err(ReasonCode::NotAuthorized) };
        }
        let Some(name) = user else { return Err(ReasonCode::NotAuthorized) };
        let password = password.unwrap_or_default();
        // An unknown name costs what a known one does, so that names can't be found out by the clock.
        let known = self.users.get(name);
        let Some(hash) = known.or_else(|| self.users.values().next()).map(|user| user.hash.clone()) else {
            return Err(ReasonCode::BadUserNameOrPassword);
        };
        let digest = self.digest(&password);
        let is_remembered = |name: &str| digest.is_some() && self.remembered.borrow().get(name).copied() == digest;
        if known.is_some() && is_remembered(name) {
            return Ok(Some(name.into()));
        }
        let turn = self.turn_of(address).acquire_owned().await.map_err(|_| ReasonCode::ServerUnavailable)?;
        let permit = self.checks.clone().acquire_owned().await.map_err(|_| ReasonCode::ServerUnavailable)?;
        let right = tokio::task::spawn_blocking(move || {
            // Held until it is computed, also when the client has gone meanwhile.
            let _held = (turn, permit);
            PasswordHash::new(&hash).is_ok_and(|hash| Argon2::default().verify_password(&password, &hash).is_ok())
        })
        .await
        .map_err(|_| ReasonCode::ServerUnavailable)?;
        if !right || known.is_none() {
            return Err(ReasonCode::BadUserNameOrPassword);
        }
        let name: Arc<str> = name.into();
        if let Some(digest) = digest {
            self.remembered.borrow_mut().insert(name.clone(), digest);
        }
        Ok(Some(name))
    }

    /// A digest that costs microseconds; it is never stored. `None` when it can't be computed: nothing is remembered.
    fn digest(&self, password: &[u8]) -> Option<[u8; 32]> {
        let params = Params::new(Params::MIN_M_COST, 1, 1, None).ok()?;
        let mut digest = [0; 32];
        let cheap = Argon2::new(Algorithm::Argon2id, argon2::Version::V0x13, params);
        cheap.hash_password_into(password, &self.salt, &mut digest).ok().map(|()| digest)
    }

    fn turn_of(&self, address: IpAddr) -> Arc<Semaphore> {
        let mut turns = self.by_address.borrow_mut();
        if let Some(turn) = turns.get(&address).and_then(Weak::upgrade) {
            return turn;
        }
        turns.retain(|_, turn| turn.strong_count() > 0);
        let turn = Arc::new(Semaphore::new(1));
        turns.insert(address, Arc::downgrade(&turn));
        turn
    }

    /// What whoever comes with this name may do, the right password given; none where nobody can come so.
    pub(crate) fn rights_by_name(&self, user: Option<&str>, client_id: &str) -> Option<ClientRights> {
        match user {
            // Without users, names are not looked at.
            _ if self.users.is_empty() => self.allow_anonymous.then(|| self.rights(None, client_id)),
            Some(name) if self.knows(name) => Some(self.rights(Some(name), client_id)),
            Some(_) | None => None,
        }
    }

    /// What a client may do, with the names put in.
    pub(crate) fn rights(&self, user: Option<&str>, client_id: &str) -> ClientRights {
        let lists = user.and_then(|name| self.users.get(name)).map_or(&self.anonymous, |user| &user.lists);
        let put_in = |filters: &[String]| put_in(filters, user, client_id);
        ClientRights {
            publish: lists.publish.as_deref().map(put_in),
            subscribe: lists.subscribe.as_deref().map(put_in),
            forbidden: put_in_closed(&lists.forbidden, user, client_id),
        }
    }
}

impl ClientRights {
    pub(crate) fn may_publish(&self, name: &str) -> bool {
        // `$`-topics belong to the broker, whatever the lists say.
        !name.starts_with('$')
            && self.publish.as_ref().is_none_or(|allowed| allowed.iter().any(|filter| topic::matches(filter, name)))
            && !self.is_forbidden(name)
    }

    /// A filter that is wider than what is forbidden may be subscribed: that is held back, see [`ClientRights::may_receive`].
    pub(crate) fn may_subscribe(&self, filter: &str) -> bool {
        let inner = topic::shared(filter).flatten().map_or(filter, |(_, inner)| inner);
        self.subscribe.as_ref().is_none_or(|allowed| allowed.iter().any(|outer| topic::covers(outer, inner)))
            && !self.forbidden.iter().any(|outer| topic::covers(outer, inner))
    }

    /// Whether a message of this topic may be received, by whatever subscription: one that is kept may be older than
    /// these rights.
    pub(crate) fn may_receive(&self, name: &str) -> bool {
        self.subscribe.as_ref().is_none_or(|allowed| allowed.iter().any(|filter| topic::matches(filter, name)))
            && !self.is_forbidden(name)
    }

    fn is_forbidden(&self, name: &str) -> bool {
        self.forbidden.iter().any(|filter| topic::matches(filter, name))
    }
}

fn check_filters(owner: &str, acl: &AclOptions) -> Result<(), BrokerOptionError> {
    let lists = [
        ("publish", acl.publish.as_deref().unwrap_or_default()),
        ("subscribe", acl.subscribe.as_deref().unwrap_or_default()),
        ("forbidden", &acl.forbidden),
    ];
    for (name, filters) in lists {
        if let Some(filter) = filters.iter().find(|filter| !topic::is_filter(filter)) {
            return Err(BrokerOptionError::Filter { list: format!("{owner}.{name}"), filter: filter.clone() });
        }
    }
    Ok(())
}

/// A name that would change a filter's meaning is left out of it: it allows nothing.
fn put_in(filters: &[String], user: Option<&str>, client_id: &str) -> Arc<[String]> {
    filters.iter().filter_map(|filter| replace_names(filter, user, client_id)).collect()
}

/// Where a name would change the meaning of a forbidden filter, everything that begins like it is forbidden: the
/// name may stand for any number of levels, and a list that forbids must not open.
fn put_in_closed(filters: &[String], user: Option<&str>, client_id: &str) -> Arc<[String]> {
    let widened = |filter: &String| {
        let before = filter.split('/').take_while(|level| !level.contains("%u") && !level.contains("%c"));
        before.chain(["#"]).collect::<Vec<_>>().join("/")
    };
    filters.iter().map(|filter| replace_names(filter, user, client_id).unwrap_or_else(|| widened(filter))).collect()
}

/// The filter with the names put in; `None` where a name is missing or would change the filter's meaning.
fn replace_names(filter: &str, user: Option<&str>, client_id: &str) -> Option<String> {
    let is_plain = |name: &str| !name.is_empty() && !name.contains(['+', '#', '/']);
    let fits =
        (!filter.contains("%u") || user.is_some_and(is_plain)) && (!filter.contains("%c") || is_plain(client_id));
    // In one pass, so that a user named "%c" stays what it is.
    let mut parts = filter.split("%u").map(|part| part.replace("%c", client_id));
    let first = parts.next().unwrap_or_default();
    fits.then(|| parts.fold(first, |done, part| done + user.unwrap_or_default() + &part))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rights(publish: &[&str], subscribe: &[&str], user: Option<&str>, client: &str) -> ClientRights {
        let own = |filters: &[&str]| {
            let filters: Vec<String> = filters.iter().map(|&filter| filter.to_owned()).collect();
            Some(put_in(&filters, user, client))
        };
        ClientRights { publish: own(publish), subscribe: own(subscribe), forbidden: Arc::default() }
    }

    #[test]
    fn what_is_forbidden_is_so_within_what_is_allowed_too() {
        let forbidden: Arc<[String]> = ["a/secret/#".to_owned()].into();
        let rights = ClientRights { forbidden, ..rights(&["#"], &["a/#"], None, "c") };
        assert!(rights.may_publish("a/b") && !rights.may_publish("a/secret/b"));
        assert!(!rights.may_subscribe("a/secret/+") && !rights.may_subscribe("$share/g/a/secret"));
        assert!(rights.may_subscribe("a/+") && rights.may_receive("a/b"));
        assert!(!rights.may_receive("a/secret") && !rights.may_receive("b"));
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
    fn a_forbidden_filter_that_a_name_would_change_forbids_all_that_begins_like_it() {
        let filters = ["dev/%c/locked/#".to_owned(), "own/%u".to_owned(), "fixed".to_owned()];
        for client in ["x/y", "+", "#", ""] {
            let forbidden = put_in_closed(&filters, Some("ann"), client);
            let rights = ClientRights { publish: None, subscribe: None, forbidden };
            assert!(!rights.may_publish("dev/x/y/locked/z") && !rights.may_receive("dev/x"), "{client}");
            assert!(!rights.may_publish("own/ann") && rights.may_publish("own/bob"), "{client}");
        }
        let forbidden = put_in_closed(&filters, None, "x");
        let rights = ClientRights { publish: None, subscribe: None, forbidden };
        assert!(!rights.may_publish("dev/x/locked/z") && rights.may_publish("dev/x/open"));
        assert!(!rights.may_publish("own/ann") && !rights.may_publish("fixed"));
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
