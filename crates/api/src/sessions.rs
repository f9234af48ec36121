//! Who is logged in to the page: opaque cookies, kept as hashes.
//!
//! A session belongs to the token that it was opened with: when that is no longer in force, the session is void. The cookie has no
//! `Path` of ours: the browser takes the folder of the address that it posted the token to, which is `…/api/v1` under
//! whatever prefix a proxy serves us.

use crate::scope::AccessScope;
use crate::secrets::{hash, new_secret};
use actix_web::http::header::HeaderMap;
use chrono::{DateTime, TimeDelta, Utc};
use hearthgate_files::replace_file;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tracing::warn;

/// The oldest make room.
const AT_MOST: usize = 100;
/// Days without a request after which a session ends.
const IDLE_DAYS: i64 = 30;
/// Wrong tokens from one address within a minute, before it has to wait.
const TRIES: usize = 10;
/// Addresses that are remembered for it.
const ADDRESSES: usize = 1_000;

/// One session, as it is kept.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct KeptLogin {
    /// SHA-256 of the cookie.
    hash: String,
    /// SHA-256 of the token.
    pub(crate) token: String,
    pub(crate) scope: AccessScope,
    pub(crate) since: DateTime<Utc>,
    pub(crate) used: DateTime<Utc>,
    pub(crate) address: String,
}

impl KeptLogin {
    /// Names it in lists; says nothing about the cookie.
    pub(crate) fn id(&self) -> &str {
        self.hash.get(..16).unwrap_or_default()
    }
}

/// All of them.
#[derive(Debug, Default)]
pub(crate) struct LoginSessions {
    kept: Mutex<Vec<KeptLogin>>,
    tries: Mutex<HashMap<IpAddr, Vec<DateTime<Utc>>>>,
    file: Option<PathBuf>,
}

impl LoginSessions {
    /// Those of the file, if it can be read; else nobody is logged in.
    pub(crate) fn open(file: Option<PathBuf>) -> Self {
        let read = |file: &PathBuf| match fs::read(file) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .inspect_err(|error| warn!(%error, file = %file.display(), "logins to the page are lost"))
                .ok(),
            Err(_) => None,
        };
        let kept = file.as_ref().and_then(read).unwrap_or_default();
        LoginSessions { kept: Mutex::new(kept), tries: Mutex::default(), file }
    }

    /// The cookie of a new session for whoever showed the token of this hash.
    ///
    /// # Errors
    /// The system has no randomness.
    pub(crate) fn begin(&self, token: &str, scope: AccessScope, address: &str) -> io::Result<String> {
        let (cookie, now) = (new_secret()?, Utc::now());
        let mut kept = lock(&self.kept);
        kept.retain(|one| !is_over(one, now));
        if kept.len() >= AT_MOST {
            kept.sort_by_key(|one| std::cmp::Reverse(one.used));
            kept.truncate(AT_MOST - 1);
        }
        kept.push(KeptLogin {
            hash: hash(cookie.as_bytes()),
            token: token.to_owned(),
            scope,
            since: now,
            used: now,
            address: address.to_owned(),
        });
        self.write(&kept);
        Ok(cookie)
    }

    /// The hash of the token that the cookie's bearer logged in with.
    pub(crate) fn token_of(&self, cookie: &str) -> Option<String> {
        let (hashed, now) = (hash(cookie.as_bytes()), Utc::now());
        let mut kept = lock(&self.kept);
        let found = kept.iter_mut().find(|one| one.hash == hashed && !is_over(one, now))?;
        found.used = now;
        Some(found.token.clone())
    }

    /// Ends the cookie's session.
    pub(crate) fn end(&self, cookie: &str) {
        let hashed = hash(cookie.as_bytes());
        let mut kept = lock(&self.kept);
        kept.retain(|one| one.hash != hashed);
        self.write(&kept);
    }

    /// Ends the session of this id; tells whether there was one.
    pub(crate) fn revoke(&self, id: &str) -> bool {
        let mut kept = lock(&self.kept);
        let before = kept.len();
        kept.retain(|one| one.id() != id);
        self.write(&kept);
        kept.len() < before
    }

    /// All that are in force, the newest first, and which of them is the cookie's.
    pub(crate) fn list(&self, cookie: Option<&str>) -> Vec<(KeptLogin, bool)> {
        let (now, own) = (Utc::now(), cookie.map(|cookie| hash(cookie.as_bytes())));
        let mut kept: Vec<KeptLogin> = lock(&self.kept).iter().filter(|one| !is_over(one, now)).cloned().collect();
        kept.sort_by_key(|one| std::cmp::Reverse(one.used));
        kept.into_iter().map(|one| (one.clone(), own.as_deref() == Some(&one.hash))).collect()
    }

    /// Whether this address has tried too often; a wrong try is noted with [`Self::note_wrong`].
    pub(crate) fn must_wait(&self, address: IpAddr) -> bool {
        let since = Utc::now() - TimeDelta::minutes(1);
        let tries = lock(&self.tries);
        tries.get(&network(address)).is_some_and(|tries| tries.iter().filter(|at| **at > since).count() >= TRIES)
    }

    pub(crate) fn note_wrong(&self, address: IpAddr) {
        let now = Utc::now();
        let since = now - TimeDelta::minutes(1);
        let mut tries = lock(&self.tries);
        if tries.len() >= ADDRESSES {
            tries.retain(|_, tries| tries.iter().any(|at| *at > since));
        }
        if tries.len() < ADDRESSES || tries.contains_key(&network(address)) {
            let of_address = tries.entry(network(address)).or_default();
            of_address.retain(|at| *at > since);
            of_address.push(now);
        }
    }

    fn write(&self, kept: &[KeptLogin]) {
        let Some(file) = &self.file else { return };
        let written = serde_json::to_vec(kept).map_err(io::Error::other).and_then(|bytes| replace_file(file, &bytes));
        if let Err(error) = written {
            warn!(%error, file = %file.display(), "logins to the page do not outlive the gateway's end");
        }
    }
}

/// The value of the cookie of this name.
pub(crate) fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let values = headers.get_all("cookie").filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(';')).find_map(|pair| {
        let (key, value) = pair.trim().split_once('=')?;
        (key == name).then_some(value)
    })
}

/// Whoever has one address of a /64 has them all.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let mut octets = address.octets();
            octets[8..].fill(0);
            IpAddr::V6(octets.into())
        }
        v4 @ IpAddr::V4(_) => v4,
    }
}

fn is_over(one: &KeptLogin, now: DateTime<Utc>) -> bool {
    now - one.used > TimeDelta::days(IDLE_DAYS)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "the hash of a token";

    #[test]
    fn a_session_outlives_the_process_as_a_hash() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("sessions.json");
        let cookie = LoginSessions::open(Some(file.clone())).begin(TOKEN, AccessScope::Admin, "127.0.0.1").unwrap();
        let text = fs::read_to_string(&file).unwrap();
        assert!(!text.contains(&cookie), "{text}");
        let later = LoginSessions::open(Some(file));
        assert_eq!(later.token_of(&cookie).as_deref(), Some(TOKEN));
        assert_eq!(later.token_of(""), None);
        later.end(&cookie);
        assert_eq!(later.token_of(&cookie), None);
    }

    #[test]
    fn an_address_that_guesses_has_to_wait_with_all_of_its_network() {
        let sessions = LoginSessions::default();
        let at = |text: &str| text.parse::<IpAddr>().unwrap();
        for _ in 0..TRIES {
            assert!(!sessions.must_wait(at("2001:db8::1")));
            sessions.note_wrong(at("2001:db8::1"));
        }
        assert!(sessions.must_wait(at("2001:db8::2")));
        assert!(!sessions.must_wait(at("2001:db8:0:1::2")) && !sessions.must_wait(at("192.0.2.1")));
    }

    #[test]
    fn there_are_never_more_sessions_than_are_kept() {
        let sessions = LoginSessions::default();
        for _ in 0..AT_MOST + 5 {
            sessions.begin(TOKEN, AccessScope::Read, "").unwrap();
        }
        assert_eq!(sessions.list(None).len(), AT_MOST);
    }
}
