//! What an interface needs besides its own text: programs and devices.

use hearthgate_interfaces::{DriverConfig, InterfaceConfig};
use rustix::fs::{Access, access};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

/// Where the C library looks for programs when PATH is not set.
const USUAL_PATH: &str = "/bin:/usr/bin";

/// What the interface needs on this machine and does not find; `base` is the configuration's folder.
pub(super) fn interface_problem(config: &InterfaceConfig, base: &Path) -> Option<String> {
    match &config.driver {
        DriverConfig::Exec(exec) => {
            let folder = exec.directory.as_ref().map_or_else(|| base.to_owned(), |folder| base.join(folder));
            if !folder.is_dir() {
                return Some(format!("there is no folder {}; set `directory`", folder.display()));
            }
            let program = exec.command.first()?;
            let search = exec.environment.get("PATH").map(Into::into).or_else(|| std::env::var_os("PATH"));
            let is_found = is_program(&folder, program, search.as_deref().unwrap_or(OsStr::new(USUAL_PATH)));
            (!is_found).then(|| format!("there is no program {program} that may be run; install it, or set `command`"))
        }
        DriverConfig::Serial(serial, _) => {
            let port = base.join(&serial.port);
            let usable = access(&port, Access::READ_OK | Access::WRITE_OK);
            let why = usable.err()?;
            Some(format!("{}: {why}; plug the device in, set `port`, or join its group (dialout)", port.display()))
        }
        DriverConfig::Dummy(_) | DriverConfig::Tcp(..) => None,
    }
}

fn is_program(folder: &Path, program: &str, search: &OsStr) -> bool {
    let may_run = |file: PathBuf| file.is_file() && access(&file, Access::EXEC_OK).is_ok();
    if program.contains('/') {
        return may_run(folder.join(program));
    }
    std::env::split_paths(search).any(|path| may_run(folder.join(path).join(program)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_looked_for_where_the_interface_will_start_it() {
        let search = OsStr::new("/usr/bin:/bin");
        assert!(is_program(Path::new("/"), "sh", search));
        assert!(is_program(Path::new("/"), "bin/sh", search));
        assert!(!is_program(Path::new("/"), "pyhton3", search));
    }
}
