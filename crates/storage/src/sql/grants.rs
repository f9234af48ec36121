//! Reads the answer of MySQL's `SHOW GRANTS`: may this account create tables in this database?

/// What migrations need on the whole database.
const NEEDED: [&str; 5] = ["CREATE", "SELECT", "INSERT", "UPDATE", "DELETE"];

/// Whether the grants, taken together, allow tables to be created and used in `database`.
pub(crate) fn may_create_tables(grants: &[String], database: &str) -> bool {
    let held: Vec<&str> = grants.iter().filter_map(|grant| privileges_on(grant, database)).collect();
    let has = |wanted: &str| {
        held.iter()
            .any(|list| list.split(',').map(str::trim).any(|one| one == wanted || one.starts_with("ALL PRIVILEGES")))
    };
    NEEDED.into_iter().all(has)
}

/// The list of privileges of one line, when it is for all tables of `database`.
fn privileges_on<'a>(grant: &'a str, database: &str) -> Option<&'a str> {
    let rest = grant.strip_prefix("GRANT ")?;
    let (privileges, rest) = rest.split_once(" ON ")?;
    let (object, _) = rest.split_once(" TO ")?;
    if object == "*.*" {
        return Some(privileges);
    }
    let pattern = object.strip_suffix(".*")?.trim_matches('`').replace("``", "`");
    like(&pattern, database).then_some(privileges)
}

/// SQL's LIKE with `\` as escape, since a database name in a grant is a pattern.
fn like(pattern: &str, name: &str) -> bool {
    let mut rest = pattern.chars();
    match rest.next() {
        None => name.is_empty(),
        Some('%') => {
            let tail = rest.as_str();
            like(tail, name) || name.char_indices().skip(1).any(|(at, _)| like(tail, &name[at..])) || like(tail, "")
        }
        Some('_') => match name.chars().next() {
            Some(first) => like(rest.as_str(), &name[first.len_utf8()..]),
            None => false,
        },
        Some(plain) => {
            let wanted = if plain == '\\' { rest.next().unwrap_or('\\') } else { plain };
            name.strip_prefix(wanted).is_some_and(|tail| like(rest.as_str(), tail))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::may_create_tables;

    fn may(grants: &[&str], database: &str) -> bool {
        may_create_tables(&grants.iter().map(|&grant| grant.to_owned()).collect::<Vec<_>>(), database)
    }

    #[test]
    fn an_owner_of_the_database_may_create_tables() {
        assert!(may(&["GRANT USAGE ON *.* TO `gw`@`%`", "GRANT ALL PRIVILEGES ON `home`.* TO `gw`@`%`"], "home"));
        assert!(may(&["GRANT ALL PRIVILEGES ON *.* TO `root`@`localhost` WITH GRANT OPTION"], "home"));
        assert!(may(&["GRANT SELECT, INSERT, UPDATE, DELETE, CREATE, DROP ON `home`.* TO `gw`@`%`"], "home"));
    }

    #[test]
    fn rights_on_single_tables_are_no_right_to_create_them() {
        let guide = [
            "GRANT USAGE ON *.* TO `gw`@`%` IDENTIFIED BY PASSWORD '*XYZ'",
            "GRANT SELECT, INSERT, UPDATE ON `home`.`flows` TO `gw`@`%`",
            "GRANT SELECT, INSERT, UPDATE ON `home`.`mqtt_servers` TO `gw`@`%`",
            "GRANT SELECT, INSERT ON `home`.`data` TO `gw`@`%`",
        ];
        assert!(!may(&guide, "home"));
    }

    #[test]
    fn rights_on_another_database_do_not_count() {
        assert!(!may(&["GRANT ALL PRIVILEGES ON `other`.* TO `gw`@`%`"], "home"));
        assert!(!may(&[r"GRANT ALL PRIVILEGES ON `my\_home`.* TO `gw`@`%`"], "myxhome"));
        assert!(may(&[r"GRANT ALL PRIVILEGES ON `my\_home`.* TO `gw`@`%`"], "my_home"));
        assert!(may(&["GRANT ALL PRIVILEGES ON `test%`.* TO `gw`@`%`"], "test_7"));
    }
}
