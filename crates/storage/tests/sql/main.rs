//! The SQL side against real databases: SQLite always, MariaDB or MySQL and PostgreSQL where
//! `HEARTHGATE_TEST_MYSQL_URL` and `HEARTHGATE_TEST_POSTGRES_URL` name servers with an account that may create
//! databases and users. With `HEARTHGATE_TEST_REQUIRE_DB=1` a missing one fails the tests.

#![expect(clippy::unwrap_used, reason = "what a test needs and does not get fails it")]

mod backfill;
mod copies;
mod crashes;
mod flows;
mod history;
mod letters;
mod records;
mod retention;
mod support;
mod takeover;
mod typed;
