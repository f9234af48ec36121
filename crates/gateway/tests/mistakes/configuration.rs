//! The configuration file itself, and the files that it names.

use crate::Mistake;

pub(crate) fn mistakes() -> Vec<Mistake> {
    let refused = Mistake::refused;
    vec![
        // The form of the file.
        refused("a value is missing", "hearthgate.toml:2", "[mqtt]\nserver = \n"),
        refused(
            "a quotation mark is missing",
            "hearthgate.toml:2",
            "[mqtt]\nserver = \"mqtt://broker.lan\nkeep_alive = \"60s\"\n",
        ),
        refused("a bracket is missing", "hearthgate.toml:1", "[mqtt\nserver = \"embedded\"\n"),
        refused("a text without quotation marks", "hearthgate.toml:2", "[mqtt]\nserver = embedded\n"),
        refused("a key twice", "hearthgate.toml:3", "[mqtt]\nusername = \"a\"\nusername = \"b\"\n"),
        refused("a section twice", "hearthgate.toml:3", "[log]\nlevel = \"info\"\n[log]\nkeep = 3\n"),
        refused(
            "a byte order mark before a misspelt key",
            "hearthgate.toml:2",
            "\u{feff}[mqtt]\nsevrer = \"embedded\"\n",
        ),
        // Keys.
        refused("a misspelt key", "hearthgate.toml:2", "[mqtt]\nsevrer = \"embedded\"\n"),
        refused("a misspelt section", "hearthgate.toml:1", "[flowz]\nenabled = true\n"),
        refused("a key before the first section", "hearthgate.toml:1", "server = \"mqtt://broker.lan\"\n"),
        refused("a key in the wrong section", "hearthgate.toml:2", "[database]\npath = \"data/home.db\"\n"),
        refused("no such component", "hearthgate.toml:1", "[supervision.writter]\nmax_restarts = 3\n"),
        // Who is told.
        refused(
            "a mail without receivers",
            "hearthgate.toml:2",
            "[notify.me]\nkind = \"email\"\nserver = \"smtps://m\"\nfrom = \"a@m\"\n",
        ),
        refused(
            "a mail server without a scheme",
            "hearthgate.toml:3",
            "[notify.me]\nkind = \"email\"\nserver = \"mail.lan\"\n",
        ),
        refused(
            "a key of another kind of notifier",
            "hearthgate.toml:4",
            "[notify.me]\nkind = \"ntfy\"\nurl = \"https://ntfy.sh/x\"\nchat = \"7\"\n",
        ),
        // Types and units.
        refused("a text where a number belongs", "hearthgate.toml:2", "[store]\nbatch = \"many\"\n"),
        refused("a negative number", "hearthgate.toml:2", "[broker.limits]\nmax_connections = -1\n"),
        refused("a number where a text belongs", "hearthgate.toml:2", "[gateway]\nname = 5\n"),
        refused("yes instead of true", "hearthgate.toml:2", "[http]\nenabled = \"yes\"\n"),
        refused("a text where a list belongs", "hearthgate.toml:2", "[endpoints]\nallow_hosts = \"example.org\"\n"),
        refused("a section where a value belongs", "hearthgate.toml:1", "[mqtt.keep_alive]\nseconds = 60\n"),
        refused("a duration without a unit", "hearthgate.toml:2", "[mqtt]\nkeep_alive = 60\n"),
        refused("a duration in quotation marks without a unit", "hearthgate.toml:2", "[mqtt]\nkeep_alive = \"60\"\n"),
        refused("a duration with an unknown unit", "hearthgate.toml:2", "[dead_letters]\nmax_age = \"3 months\"\n"),
        refused("a duration that is too short", "hearthgate.toml:2", "[flows]\nreload_interval = \"10ms\"\n"),
        refused("a size without a unit", "hearthgate.toml:2", "[journal]\nmax_size = 1000000000\n"),
        refused("a size with an unknown unit", "hearthgate.toml:2", "[journal]\nmax_size = \"1 gb\"\n"),
        refused("a journal smaller than its files", "hearthgate.toml:2", "[journal]\nmax_size = \"1MiB\"\n"),
        refused("a word that is no choice", "hearthgate.toml:2", "[mqtt]\nprotocol = \"4\"\n"),
        refused("a misspelt choice", "hearthgate.toml:2", "[journal]\nwhen_full = \"drop_oldset\"\n"),
        Mistake::told("a misspelt log level", "hearthgate.toml:2", "[log]\nlevel = \"verbose\"\n"),
        refused("a name that can be in no topic", "hearthgate.toml:2", "[gateway]\nname = \"my home/attic\"\n"),
        refused("a part of one that is a percentage", "hearthgate.toml:2", "[endpoints]\njitter = 20\n"),
        // Files.
        refused("a file that is not there", "nowhere.toml", "").by(&["-c nowhere.toml check", "-c nowhere.toml run"]),
        refused("a folder instead of the file", "configuration file FOLDER/.", "").by(&["-c . check", "-c . run"]),
        refused("a variable that is not set", "hearthgate.toml:2", "[mqtt]\nusername = \"${NOBODY}\"\n"),
        refused("a variable without its bracket", "hearthgate.toml:2", "[mqtt]\nusername = \"${NOBODY\"\n"),
        refused(
            "a secret that is not there",
            "hearthgate.toml:3",
            "[mqtt]\nusername = \"a\"\npassword_file = \"secrets/mqtt\"\n",
        ),
        refused(
            "a secret in two places",
            "hearthgate.toml:3",
            "[mqtt]\nusername = \"a\"\npassword = \"b\"\npassword_file = \"c\"\n",
        ),
        refused("a device instead of a secret", "hearthgate.toml:2", "[http]\ntoken_file = \"/dev/zero\"\n"),
        refused("a token that can be guessed", "hearthgate.toml:2", "[http]\ntoken = \"secret\"\n"),
        refused("a state folder that is a file", "hearthgate.toml:2", "[gateway]\nstate_dir = \"note\"\n")
            .with("note", ""),
        refused("a log file in a folder that is a file", "hearthgate.toml:2", "[log]\nfile = \"note/log\"\n")
            .with("note", ""),
        refused("a database of no known kind", "hearthgate.toml:2", "[database]\nurl = \"oracle://db/home\"\n"),
        refused("a database without a name", "hearthgate.toml:2", "[database]\nurl = \"postgres://me@db\"\n"),
        refused(
            "a password in two places",
            "hearthgate.toml:3",
            "[database]\nurl = \"postgres://me:a@db/home\"\npassword = \"b\"\n",
        ),
        refused(
            "a password for a file",
            "hearthgate.toml:3",
            "[database]\nurl = \"sqlite:home.db\"\npassword = \"b\"\n",
        ),
    ]
}
