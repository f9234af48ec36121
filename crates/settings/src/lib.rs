//! The configuration: read once from its layers, checked as a whole, and handed on as a validated value.
//!
//! Layers, the later ones win: the built-in defaults, what `DB_HOST` implies, the file, the Python MQTT Gateway's
//! environment, `HEARTHGATE__SECTION__KEY`, flags. Whatever is wrong is told at once, each finding with its place and its
//! remedy. Relative paths start at the folder of the file; without a file, at the working directory.

mod check;
mod environment;
mod expand;
mod file;
mod finding;
mod mail_server;
mod masking;
mod origin;
mod read;
mod schema;
mod secret_file;
mod sections;
mod show;
mod text_file;
mod types;
mod urls;

pub use environment::{EnvironmentVariables, ImportedValue, import_dot_env};
pub use finding::{ConfigFinding, FindingSeverity, SettingsError};
pub use mail_server::{MailSecurity, MailServerUrl, MailServerUrlError};
pub use masking::{MASK, mask_text, names_secret};
pub use origin::ValueOrigin;
pub use schema::schema;
pub use secret_file::{SecretFileError, read_secret_below, read_secret_file};
pub use sections::*;
pub use show::ShownValue;
pub use text_file::{TextFileError, read_text_file};
pub use types::{AutoSwitch, ByteSize, ByteSizeError, DurationText, ListenAddress, ListenAddressError};
pub use urls::{BrokerUrl, BrokerUrlError, DatabaseEngine, DatabaseUrl, DatabaseUrlError, MqttTransport, RemoteBroker};

use config::{Config, Map, Source, Value, ValueKind};
use origin::ValueOrigins;
use std::path::{Path, PathBuf};

/// The commented default configuration: the lowest layer, and the reference of all keys.
pub const DEFAULTS: &str = include_str!("../../../config/hearthgate.default.toml");

/// The map of an interface that needs no file: the reference's map of the dummy interface, [`DUMMY_MAP`].
pub const BUILTIN_DUMMY: &str = "builtin:dummy";

/// What [`BUILTIN_DUMMY`] stands for.
pub const DUMMY_MAP: &str = include_str!("../../../config/maps/dummy.json");

/// Where the layers come from.
#[derive(Clone, Debug)]
pub struct SettingsSources {
    /// The file that `-c` names; absent: the usual places are searched.
    pub file: Option<PathBuf>,
    /// The environment.
    pub environment: EnvironmentVariables,
    /// `section.key` and value of each flag.
    pub flags: Vec<(String, String)>,
    /// Where relative paths start when there is no file, and where `.env` is looked for.
    pub working_dir: PathBuf,
}

/// A usable configuration, and where each of its values comes from.
#[derive(Clone)]
pub struct LoadedSettings {
    /// The values.
    pub settings: GatewaySettings,
    /// What is allowed but doubtful.
    pub warnings: Vec<ConfigFinding>,
    /// The file that was read, if any.
    pub file: Option<PathBuf>,
    /// Where relative paths start.
    pub base: PathBuf,
    /// Whether nobody has configured anything yet, so that the samples of a first run are wanted.
    pub is_first_run: bool,
    tree: Value,
    origins: ValueOrigins,
}

// The tree holds secrets.
impl std::fmt::Debug for LoadedSettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Loaded").field("file", &self.file).field("settings", &self.settings).finish_non_exhaustive()
    }
}

/// Reads and checks the configuration.
///
/// # Errors
/// Everything that is wrong with it.
pub fn load(sources: SettingsSources) -> Result<LoadedSettings, SettingsError> {
    let SettingsSources { file, mut environment, flags, working_dir } = sources;
    let mut findings = Vec::new();
    let mut origins = ValueOrigins::default();
    environment.add_dot_env(&working_dir.join(".env"), &mut findings);

    let file = file.map_or_else(|| search(&environment, &working_dir), |file| Some(working_dir.join(file)));
    let base = match &file {
        Some(file) => file.parent().unwrap_or(&working_dir).to_owned(),
        None => working_dir.clone(),
    };
    let is_first_run = file.is_none() && environment.get("DB_HOST").is_none();

    let defaults = default_layer(&environment, &mut origins, &mut findings, is_first_run);
    let mut layers = vec![defaults.clone(), environment::implied(&environment, &mut origins)];
    if let Some(file) = &file {
        layers.push(file_layer(file, &working_dir, &environment, &mut origins, &mut findings));
    }
    layers.push(environment::compatible(&environment, &mut origins, &mut findings));
    let below = merge(layers.clone())?;
    layers.push(environment::prefixed(&environment, &below, &mut origins));
    layers.push(flag_layer(&flags, &mut origins));

    let mut tree = merge(layers)?;
    let defaults = merge(vec![defaults])?;
    let settings = read_all(&mut tree, &defaults, &origins, &mut findings);
    let Some(mut settings) = settings else { return Err(sorted(findings)) };
    findings.extend(check::complete(&mut settings, &tree, &origins, &base));
    if findings.iter().any(|finding| finding.severity == FindingSeverity::Error) {
        return Err(sorted(findings));
    }
    settings.secrets.variables = environment;
    Ok(LoadedSettings { settings, warnings: findings, file, base, is_first_run, tree, origins })
}

/// The first of the usual places that has a file.
fn search(environment: &EnvironmentVariables, working_dir: &Path) -> Option<PathBuf> {
    let home = environment.get("HOME").map(|home| Path::new(home).join(".config"));
    let user = environment.get("XDG_CONFIG_HOME").filter(|path| !path.is_empty()).map(PathBuf::from).or(home);
    [Some(working_dir.to_owned()), user.map(|path| path.join("hearthgate")), Some("/etc/hearthgate".into())]
        .into_iter()
        .flatten()
        .map(|folder| folder.join("hearthgate.toml"))
        .find(|file| file.is_file())
}

fn default_layer(
    environment: &EnvironmentVariables,
    origins: &mut ValueOrigins,
    findings: &mut Vec<ConfigFinding>,
    is_first_run: bool,
) -> Map<String, Value> {
    let mut layer = file::parse(DEFAULTS, file::NamedText::BuiltIn, environment, origins, findings);
    if !is_first_run {
        layer.remove("interfaces");
    }
    layer
}

fn file_layer(
    file: &Path,
    working_dir: &Path,
    environment: &EnvironmentVariables,
    origins: &mut ValueOrigins,
    findings: &mut Vec<ConfigFinding>,
) -> Map<String, Value> {
    let inside = file.strip_prefix(working_dir).ok().filter(|inside| !inside.as_os_str().is_empty());
    let name = inside.unwrap_or(file).display().to_string();
    match read_text_file(file) {
        Ok(text) => file::parse(&text, file::NamedText::File(&name), environment, origins, findings),
        Err(error) => {
            let finding = ConfigFinding::error("", format!("can't read the configuration file {name}: {error}"));
            findings.push(finding.remedy("name another one with -c"));
            Map::new()
        }
    }
}

fn flag_layer(flags: &[(String, String)], origins: &mut ValueOrigins) -> Map<String, Value> {
    let mut layer = Map::new();
    for (key, value) in flags {
        let origin = origins.add(ValueOrigin::Flag(format!("--set {key}")));
        let path: Vec<String> = key.split('.').map(str::to_owned).collect();
        environment::insert(&mut layer, &path, Value::new(Some(&origin), value.as_str()));
    }
    layer
}

#[derive(Clone)]
struct Layer(Map<String, Value>);

impl std::fmt::Debug for Layer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Layer")
    }
}

impl Source for Layer {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Map<String, Value>, config::ConfigError> {
        Ok(self.0.clone())
    }
}

fn merge(layers: Vec<Map<String, Value>>) -> Result<Value, SettingsError> {
    let builder = layers.into_iter().fold(Config::builder(), |builder, layer| builder.add_source(Layer(layer)));
    match builder.build() {
        Ok(config) => Ok(config.cache),
        Err(error) => Err(SettingsError { findings: vec![ConfigFinding::error("", error.to_string())] }),
    }
}

/// Reads the sections; whatever does not fit is told and replaced by its default, until the rest is read.
fn read_all(
    tree: &mut Value,
    defaults: &Value,
    origins: &ValueOrigins,
    findings: &mut Vec<ConfigFinding>,
) -> Option<GatewaySettings> {
    loop {
        let problem = match read::read::<GatewaySettings>(tree, origins) {
            Ok(settings) => return Some(settings),
            Err(problem) => problem,
        };
        let mut path: Vec<String> = problem.path.iter().take_while(|part| !part.starts_with('[')).cloned().collect();
        findings.push(problem.into_finding(origins));
        while !path.is_empty() && !restore(tree, defaults, &path) {
            path.pop();
        }
        if path.is_empty() {
            return None;
        }
    }
}

/// Puts the default back in the place of what stands at `path`; `false` when it is the default already.
fn restore(tree: &mut Value, defaults: &Value, path: &[String]) -> bool {
    let Some((last, above)) = path.split_last() else { return false };
    let default = path.iter().try_fold(defaults, |at, part| match &at.kind {
        ValueKind::Table(table) => table.get(part),
        _ => None,
    });
    let table = above.iter().try_fold(tree, |at, part| match &mut at.kind {
        ValueKind::Table(table) => table.get_mut(part),
        _ => None,
    });
    let Some(ValueKind::Table(table)) = table.map(|value| &mut value.kind) else { return false };
    match (table.get(last), default) {
        (Some(found), Some(default)) if found.kind != default.kind => table.insert(last.clone(), default.clone()),
        (Some(_), None) => table.remove(last),
        (Some(_) | None, _) => return false,
    };
    true
}

fn sorted(mut findings: Vec<ConfigFinding>) -> SettingsError {
    findings.sort_by_key(|finding| match &finding.origin {
        Some(ValueOrigin::File { line, .. }) => (0, *line),
        _ => (1, 0),
    });
    SettingsError { findings }
}

#[cfg(test)]
mod tests;
