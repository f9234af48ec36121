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

/// Finds a secret where a flow says that it is: in the environment, or in a file whose last line break does not count. A
/// file that does not answer is given up soon.
///
/// # Errors
/// It is not there, or not for flows.
pub(crate) fn find_secret(reference: &SecretRef, allowed: &SecretSettings) -> Result<SecretString, SecretLookupError> {
    match reference {
        SecretRef::Env(name) => variable(name, reference, &allowed.env_prefix),
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

fn variable(name: &str, reference: &SecretRef, prefix: &str) -> Result<SecretString, SecretLookupError> {
    let reference = || reference.clone();
    if !name.starts_with(prefix) {
        return Err(SecretLookupError::OtherVariable { reference: reference(), prefix: prefix.to_owned() });
    }
    // The error of `env::var` would show the value.
    let value = env::var_os(name).ok_or_else(|| SecretLookupError::NotSet { reference: reference() })?;
    value.into_string().map(Into::into).map_err(|_| SecretLookupError::NotText { reference: reference() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(reference: &str, prefix: &str) -> String {
        let allowed = SecretSettings { folder: "/none/such/secrets".into(), env_prefix: prefix.to_owned() };
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
        let allowed = SecretSettings { folder: "/none".into(), env_prefix: "PA".to_owned() };
        assert!(find_secret(&SecretRef::Env("PATH".into()), &allowed).is_ok());
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
