//! The secrets that flows name. Flows come from the database, so they reach only what is set aside for them.

use hearthgate_domain::flow::SecretRef;
use hearthgate_settings::{SecretFileError, SecretSettings, read_secret_below};
use secrecy::SecretString;
use std::env;
use std::path::{Path, PathBuf};

/// Why a flow does not get its secret. No variant shows what was found.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SecretLookupError {
    #[error(
        "the secret {reference} is refused: flows may only name variables that begin with {prefix}; rename it, or set \
         secrets.env_prefix"
    )]
    OtherVariable { reference: SecretRef, prefix: String },
    #[error("the secret {reference} is not set; set the variable where the gateway is started")]
    NotSet { reference: SecretRef },
    #[error("the secret {reference} is no UTF-8 text; set the variable to one")]
    NotText { reference: SecretRef },
    #[error(
        "the secret {reference} is refused: flows may only name files below {}; move it there, or set secrets.folder",
        folder.display()
    )]
    OtherFile { reference: SecretRef, folder: PathBuf },
    #[error(
        "the secret {reference} can't be read: {source}; it must be a file below {}, readable for the gateway's user",
        folder.display()
    )]
    File { reference: SecretRef, folder: PathBuf, source: SecretFileError },
}

impl SecretLookupError {
    /// Whether it may be put there while the gateway runs, rather than that flows may not have it.
    pub(crate) fn is_missing(&self) -> bool {
        matches!(self, SecretLookupError::NotSet { .. } | SecretLookupError::File { .. })
    }
}

/// Finds a secret where a flow says that it is: in the environment, or in a file whose last line break does not count. A
/// file that does not answer is given up soon.
///
/// # Errors
/// It is not there, or not for flows.
pub(crate) fn find_secret(reference: &SecretRef, allowed: &SecretSettings) -> Result<SecretString, SecretLookupError> {
    match reference {
        SecretRef::Env(name) => variable(name, reference, allowed),
        SecretRef::File(path) => {
            read_secret_below(&allowed.folder, Path::new(&**path)).map(Into::into).map_err(|source| {
                let (reference, folder) = (reference.clone(), allowed.folder.clone());
                match source {
                    SecretFileError::Outside(_) => SecretLookupError::OtherFile { reference, folder },
                    source => SecretLookupError::File { reference, folder, source },
                }
            })
        }
    }
}

fn variable(name: &str, reference: &SecretRef, allowed: &SecretSettings) -> Result<SecretString, SecretLookupError> {
    let reference = || reference.clone();
    let SecretSettings { env_prefix: prefix, variables, .. } = allowed;
    if !name.starts_with(prefix) {
        return Err(SecretLookupError::OtherVariable { reference: reference(), prefix: prefix.clone() });
    }
    // The error of `env::var` would show the value.
    if let Some(value) = env::var_os(name) {
        return value.into_string().map(Into::into).map_err(|_| SecretLookupError::NotText { reference: reference() });
    }
    let in_dot_env = variables.get(name).map(Into::into);
    in_dot_env.ok_or_else(|| SecretLookupError::NotSet { reference: reference() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use hearthgate_settings::EnvironmentVariables;

    fn allowed(folder: &str, prefix: &str) -> SecretSettings {
        let variables = EnvironmentVariables::default();
        SecretSettings { folder: folder.into(), env_prefix: prefix.to_owned(), variables }
    }

    fn refusal(reference: &str, prefix: &str) -> String {
        let allowed = allowed("/none/such/secrets", prefix);
        find_secret(&SecretRef::try_from(reference.to_owned()).unwrap(), &allowed).map(drop).unwrap_err().to_string()
    }

    #[test]
    fn a_flow_names_only_variables_with_the_prefix() {
        assert_eq!(
            refusal("env:PATH", "HEARTHGATE_SECRET_"),
            "the secret env:PATH is refused: flows may only name variables that begin with HEARTHGATE_SECRET_; rename it, or \
             set secrets.env_prefix"
        );
        assert!(refusal("env:HEARTHGATE_SECRET_NONE", "HEARTHGATE_SECRET_").contains("is not set"));
        let allowed =
            SecretSettings { variables: EnvironmentVariables::of([("PANEL", "1")]), ..allowed("/none", "PA") };
        assert!(find_secret(&SecretRef::Env("PATH".into()), &allowed).is_ok());
        assert!(find_secret(&SecretRef::Env("PANEL".into()), &allowed).is_ok(), "of the .env file");
    }

    #[test]
    fn a_flow_names_only_files_below_the_folder() {
        assert_eq!(
            refusal("file:/etc/hostname", ""),
            "the secret file:/etc/hostname is refused: flows may only name files below /none/such/secrets; move it there, or \
             set secrets.folder"
        );
        assert!(refusal("file:key", "").contains("can't be read: No such file"));
    }
}
