//! What to sign in with.

use secrecy::SecretString;

/// What we sign in with.
#[derive(Clone, Debug)]
pub enum Credentials {
    /// A token, used as it is. It cannot be renewed.
    Token(SecretString),
    /// A user and password, which FiFo exchanges for a token.
    Password { user: String, password: SecretString },
    /// A token, and a user and password for when FiFo no longer accepts it.
    TokenFirst { token: SecretString, user: String, password: SecretString },
}

impl Credentials {
    pub(super) fn token(&self) -> Option<&SecretString> {
        match self {
            Self::Token(token) | Self::TokenFirst { token, .. } => Some(token),
            Self::Password { .. } => None,
        }
    }

    pub(super) fn user(&self) -> Option<(&str, &SecretString)> {
        match self {
            Self::Token(_) => None,
            Self::Password { user, password } | Self::TokenFirst { user, password, .. } => {
                Some((user, password))
            }
        }
    }
}
