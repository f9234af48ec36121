//! Topic names and filters (MQTT 5.0, section 4.7), and shared subscriptions (section 4.8.2).

/// Whether `name` can be published to: not empty, no wildcard. (NUL was refused when it was read.)
pub(crate) fn is_name(name: &str) -> bool {
    !name.is_empty() && !name.bytes().any(|byte| byte == b'+' || byte == b'#')
}

/// More levels than any home has; it bounds the depth of the subscription tree.
const MAX_FILTER_LEVELS: usize = 128;
/// Longer than any in use; what is remembered of a client is bounded by it.
pub(crate) const MAX_REMEMBERED_BYTES: usize = 4096;

/// Whether `filter` can be subscribed to: `+` fills a level, `#` the last one, and there are at most 128 levels and
/// 4,096 bytes.
pub(crate) fn is_filter(filter: &str) -> bool {
    if filter.is_empty()
        || filter.len() > MAX_REMEMBERED_BYTES
        || filter.bytes().filter(|&byte| byte == b'/').count() >= MAX_FILTER_LEVELS
    {
        return false;
    }
    let mut levels = filter.split('/').peekable();
    while let Some(level) = levels.next() {
        let fits = match level {
            "#" => levels.peek().is_none(),
            "+" => true,
            _ => is_name(level) || level.is_empty(),
        };
        if !fits {
            return false;
        }
    }
    true
}

/// The two parts of `$share/group/filter`; `None` when it is not one, `Some(None)` when it is a wrong one.
#[expect(clippy::option_option, reason = "not shared, shared wrongly and shared are three answers")]
pub(crate) fn shared(filter: &str) -> Option<Option<(&str, &str)>> {
    let rest = filter.strip_prefix("$share/")?;
    Some(rest.split_once('/').filter(|(group, filter)| is_name(group) && is_filter(filter)))
}

/// Whether a topic name matches a filter. A leading wildcard does not match a name that begins with `$`.
pub(crate) fn matches(filter: &str, name: &str) -> bool {
    if name.starts_with('$') && filter.starts_with(['+', '#']) {
        return false;
    }
    let mut names = name.split('/');
    for level in filter.split('/') {
        match (level, names.next()) {
            ("#", _) => return true,
            ("+", Some(_)) => {}
            (level, Some(name)) if level == name => {}
            _ => return false,
        }
    }
    names.next().is_none()
}

/// Whether every name that `filter` matches is matched by `allowed` too.
pub(crate) fn covers(allowed: &str, filter: &str) -> bool {
    if filter.starts_with('$') && allowed.starts_with(['+', '#']) {
        return false;
    }
    let mut levels = filter.split('/');
    for outer in allowed.split('/') {
        match (outer, levels.next()) {
            ("#", _) => return true,
            (_, Some("#")) => return false,
            ("+", Some(_)) => {}
            (outer, Some(inner)) if outer == inner => {}
            _ => return false,
        }
    }
    levels.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_are_judged_as_the_specification_says() {
        for good in ["#", "+", "a", "a/#", "a/+/b", "+/+", "/", "/+", "a//b", "+/tennis/#", "$SYS/#"] {
            assert!(is_filter(good), "{good}");
        }
        for bad in ["", "a#", "a/#/b", "a+", "a/b+", "#/a", "##"] {
            assert!(!is_filter(bad), "{bad}");
        }
    }

    #[test]
    fn matching_follows_the_examples_of_section_4_7() {
        for (filter, name, expected) in [
            ("sport/tennis/player1/#", "sport/tennis/player1", true),
            ("sport/tennis/player1/#", "sport/tennis/player1/score/wimbledon", true),
            ("sport/#", "sport", true),
            ("sport/tennis/+", "sport/tennis/player1/ranking", false),
            ("sport/+", "sport", false),
            ("sport/+", "sport/", true),
            ("+/+", "/finance", true),
            ("/+", "/finance", true),
            ("+", "/finance", false),
            ("#", "$SYS/a", false),
            ("+/monitor", "$SYS/monitor", false),
            ("$SYS/#", "$SYS/a", true),
        ] {
            assert_eq!(matches(filter, name), expected, "{filter} {name}");
        }
    }

    #[test]
    fn an_allowed_filter_covers_only_what_lies_within_it() {
        for (allowed, filter, expected) in [
            ("#", "#", true),
            ("#", "a/+", true),
            ("a/#", "#", false),
            ("a/#", "a", true),
            ("a/#", "a/b/#", true),
            ("a/+", "a/+", true),
            ("a/+", "a/b", true),
            ("a/b", "a/+", false),
            ("a/+", "a/#", false),
            ("#", "$SYS/a", false),
            ("+/b", "a/b", true),
        ] {
            assert_eq!(covers(allowed, filter), expected, "{allowed} {filter}");
        }
    }

    #[test]
    fn a_shared_subscription_has_a_group_and_a_filter() {
        assert_eq!(shared("$share/g/a/+"), Some(Some(("g", "a/+"))));
        assert_eq!(shared("$share//a"), Some(None));
        assert_eq!(shared("$share/g"), Some(None));
        assert_eq!(shared("$share/g+/a"), Some(None));
        assert_eq!(shared("a"), None);
    }
}
