use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// Where a store is: `s3://bucket[/prefix]` or `file:///path`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location {
    Folder(PathBuf),
    S3 {
        bucket: String,
        /// Ends with a slash, unless it is empty.
        prefix: String,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a store: write it like s3://bucket, s3://bucket/prefix or file:///path")]
pub struct BadLocation;

impl FromStr for Location {
    type Err = BadLocation;

    fn from_str(text: &str) -> Result<Self, BadLocation> {
        if let Some(path) = text.strip_prefix("file://").filter(|path| path.starts_with('/')) {
            return Ok(Self::Folder(PathBuf::from(path)));
        }
        let (bucket, prefix) = {
            let rest = text.strip_prefix("s3://").ok_or(BadLocation)?;
            rest.split_once('/').unwrap_or((rest, ""))
        };
        let is_name = |letter: char| letter.is_ascii_alphanumeric() || "-._".contains(letter);
        if bucket.is_empty() || !bucket.chars().all(is_name) {
            return Err(BadLocation);
        }
        let prefix = prefix.trim_matches('/');
        let prefix = if prefix.is_empty() { String::new() } else { format!("{prefix}/") };
        Ok(Self::S3 { bucket: bucket.to_owned(), prefix })
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder(path) => write!(f, "file://{}", path.display()),
            Self::S3 { bucket, prefix } if prefix.is_empty() => write!(f, "s3://{bucket}"),
            Self::S3 { bucket, prefix } => write!(f, "s3://{bucket}/{}", prefix.trim_end_matches('/')),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_is_a_bucket_or_a_folder() {
        for (text, shown) in [
            ("s3://fifo", Some("s3://fifo")),
            ("s3://fifo/", Some("s3://fifo")),
            ("s3://fifo/a/b/", Some("s3://fifo/a/b")),
            ("file:///mnt/leo", Some("file:///mnt/leo")),
            ("file://mnt", None),
            ("s3://", None),
            ("s3:///x", None),
            ("s3://user:secret@host", None),
            ("/mnt/leo", None),
        ] {
            let read = text.parse::<Location>();
            assert_eq!(read.ok().map(|it| it.to_string()).as_deref(), shown, "{text}");
        }
    }
}
