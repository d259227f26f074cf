//! The users, what they may do, and the store that knows them.

use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    pub password: String,
    /// What the user may do, each as FiFo writes it: `["vms", "<uuid>", "get"]`, where `_` stands for any one word and
    /// a final `...` for any number of them.
    pub permissions: Vec<Vec<String>>,
}

impl User {
    pub fn admin(password: &str) -> Self {
        Self { password: password.to_owned(), permissions: vec![vec!["...".to_owned()]] }
    }

    /// Makes a user with the given permissions, words separated by `->`: `vms->_->get`.
    pub fn allowed_to(password: &str, permissions: &[&str]) -> Self {
        let words = |permission: &&str| permission.split("->").map(str::to_owned).collect();
        Self { password: password.to_owned(), permissions: permissions.iter().map(words).collect() }
    }

    pub fn may(&self, wanted: &[&str]) -> bool {
        self.permissions.iter().any(|granted| grants(granted, wanted))
    }
}

/// How the user store behaves, which is asked at every sign-in and for every token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UserStore {
    #[default]
    Up,
    /// It does not answer in time: 400 `server_error` at the sign-in, and every token is answered with 401.
    ServerError,
    /// It says that it cannot answer now: 400 `temporarily_unavailable` at the sign-in, and otherwise the same.
    TemporarilyUnavailable,
}

fn grants(granted: &[String], wanted: &[&str]) -> bool {
    match (granted.split_first(), wanted.split_first()) {
        (None, None) => true,
        (Some((word, [])), _) if word == "..." => true,
        (Some((word, granted)), Some((wanted_word, wanted))) => {
            (word == "_" || word == wanted_word) && grants(granted, wanted)
        }
        _ => false,
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    pub user: String,
    /// In microseconds since the Unix epoch.
    pub expires_us: i64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_permission_is_matched_word_by_word() {
        let user = User::allowed_to("x", &["vms->_->get", "cloud->...", "vms->v1->backup"]);
        assert!(user.may(&["vms", "v2", "get"]));
        assert!(user.may(&["cloud", "vms", "list"]));
        assert!(user.may(&["vms", "v1", "backup"]));
        assert!(!user.may(&["vms", "v2", "backup"]));
        assert!(!user.may(&["vms", "v1"]));
        assert!(!user.may(&["vms", "v1", "get", "more"]));
        assert!(User::admin("x").may(&["anything", "at", "all"]));
    }
}
