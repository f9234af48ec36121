//! What a flow or an interface needs besides its own text: templates that can be read, secrets, programs, devices.

use crate::wiring::options;
use hearthgate_actors::flows::poster::body_purpose;
use hearthgate_domain::flow::{EndpointAuth, Flow, FlowAction, FlowRow, HeaderValue, SecretRef};
use hearthgate_domain::routing::{describe_circle, find_circles};
use hearthgate_endpoints::template::{BodyTemplate, TemplatePurpose};
use hearthgate_interfaces::{DriverConfig, InterfaceConfig};
use rustix::fs::{Access, access};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

/// Where the C library looks for programs when PATH is not set.
const USUAL_PATH: &str = "/bin:/usr/bin";

/// What keeps the flow's templates from being read: each message would become a dead letter.
pub(super) fn template_problems(flow: &Flow) -> Vec<String> {
    let mut templates: Vec<(&str, &str, TemplatePurpose)> = Vec::new();
    if let Some(endpoint) = &flow.endpoint {
        templates
            .extend(endpoint.url_template.as_deref().map(|text| ("options.url_template", text, TemplatePurpose::Url)));
        let body = endpoint.body_template.as_deref();
        templates.extend(body.map(|text| ("options.body_template", text, body_purpose(endpoint, text))));
    }
    for action in &flow.actions {
        if let FlowAction::Publish { topic, .. } = action {
            templates.push(("options.actions, the topic of PUBLISH", topic, TemplatePurpose::Body));
        }
    }
    let problem = |(field, text, purpose): (&str, &str, TemplatePurpose)| {
        BodyTemplate::new(text, purpose)
            .err()
            .map(|error| format!("{field}: {error}; mend it with `hearthgate flow edit`"))
    };
    templates.into_iter().filter_map(problem).collect()
}

/// The secrets of the flow that are not where it says.
pub(super) fn secret_problems(flow: &Flow) -> Vec<String> {
    let Some(endpoint) = &flow.endpoint else { return Vec::new() };
    let mut secrets: Vec<&SecretRef> = endpoint.webhook_secret.iter().collect();
    secrets.extend(endpoint.auth.iter().map(|auth| match auth {
        EndpointAuth::Bearer(secret) | EndpointAuth::Basic { password: secret, .. } => secret,
    }));
    secrets.extend(endpoint.headers.iter().filter_map(|(_, value)| match value {
        HeaderValue::Secret { secret } => Some(secret),
        HeaderValue::Text(_) => None,
    }));
    let problem = |secret| options::secret(secret).err().map(|why| format!("the secret can't be read: {why}"));
    secrets.into_iter().filter_map(problem).collect()
}

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

/// The circles in which enabled flows publish to each other, in words.
pub(super) fn circle_problems(rows: &[FlowRow]) -> Vec<String> {
    let flows: Vec<Flow> = rows.iter().filter_map(|row| Flow::compile(row.clone()).ok()).collect();
    let circles = find_circles(&flows.iter().collect::<Vec<_>>());
    let problem = |circle: &Vec<&Flow>| {
        format!("{} publish to each other, without end; change the topic of one of them", describe_circle(circle))
    };
    circles.iter().map(problem).collect()
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
