//! Whether what goes to a server and back can be read, or changed, on the way.

use super::options::DatabaseTarget;
use super::pools::ConnectionPools;
use sqlx::{MySqlPool, PgPool, Row as _};
use std::net::IpAddr;

/// Whether the server is on another machine and the connection is not encrypted. A server that does not say so counts as
/// encrypted.
pub(crate) async fn is_exposed(target: &DatabaseTarget, pools: &ConnectionPools) -> bool {
    let is_encrypted = match (target, pools) {
        (DatabaseTarget::MySql(server), ConnectionPools::MySql(pool)) => {
            server.get_socket().is_some() || is_this_machine(server.get_host()) || is_encrypted_mysql(pool).await
        }
        (DatabaseTarget::Postgres(server), ConnectionPools::Postgres(pool)) => {
            server.get_socket().is_some() || is_this_machine(server.get_host()) || is_encrypted_postgres(pool).await
        }
        _ => true,
    };
    !is_encrypted
}

async fn is_encrypted_mysql(pool: &MySqlPool) -> bool {
    let row = sqlx::query("SHOW SESSION STATUS LIKE 'Ssl_cipher'").fetch_one(pool).await;
    let cipher = row.and_then(|row| row.try_get::<String, _>(1));
    cipher.map_or(true, |cipher| !cipher.is_empty())
}

async fn is_encrypted_postgres(pool: &PgPool) -> bool {
    let query = sqlx::query_scalar("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()");
    query.fetch_one(pool).await.unwrap_or(true)
}

/// A path is the folder of a local socket.
fn is_this_machine(host: &str) -> bool {
    let address = host.trim_matches(['[', ']']).parse::<IpAddr>();
    host.is_empty()
        || host.starts_with('/')
        || host == "localhost"
        || address.is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_is_reached_by_loopback_and_by_local_sockets() {
        for host in ["localhost", "127.0.0.1", "127.8.8.8", "::1", "[::1]", "/run/postgresql"] {
            assert!(is_this_machine(host), "{host}");
        }
        for host in ["db.lan", "192.168.1.2", "0.0.0.0", "localhost.example.org", "2a00::1"] {
            assert!(!is_this_machine(host), "{host}");
        }
    }
}
