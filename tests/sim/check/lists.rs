//! Pages of a list are in order, continue where the last one ended, and show what some client wrote. A page is a read of
//! every key in its range, which the key's history must explain: nothing acknowledged before is missing, and nothing
//! deleted before is shown.

use std::collections::BTreeMap;

use crate::client::{element, elements};
use crate::value::{ValueId, Values};

/// A page of a list.
pub struct Page {
    /// What it shows.
    shown: BTreeMap<String, ValueId>,
    prefix: &'static str,
    /// It begins after this key.
    after: String,
    /// It ends with this key, which is `after` if it is empty.
    pub last: String,
    /// Where the next page begins.
    pub token: Option<String>,
}

impl Page {
    /// Parses the answer to a request for keys with this prefix after `after`.
    ///
    /// # Errors
    /// The page is malformed.
    pub fn read(text: &str, prefix: &'static str, after: String, values: &Values) -> Result<Page, String> {
        let truncated = element(text, "IsTruncated") == Some("true");
        let token = element(text, "NextContinuationToken").map(str::to_owned);
        let mut page = Page { shown: BTreeMap::new(), prefix, last: after.clone(), after, token };
        for entry in elements(text, "Contents") {
            let key = element(entry, "Key").unwrap_or_default();
            let etag = element(entry, "ETag").unwrap_or_default().replace("&quot;", "");
            let value = values.by_etag(&etag).filter(|id| {
                let size = values.get(*id).contents.len().to_string();
                element(entry, "Size") == Some(&size)
            });
            match value {
                Some(value) if *key > *page.last && key.starts_with(prefix) => {
                    key.clone_into(&mut page.last);
                    page.shown.insert(key.to_owned(), value);
                }
                _ => return Err(format!("a list after {:?} shows {entry}", page.last)),
            }
        }
        if truncated && page.shown.is_empty() {
            return Err("a truncated page is empty".to_owned());
        }
        if truncated != page.token.is_some() {
            return Err(format!("a list that is truncated ({truncated}) has the token {:?}", page.token));
        }
        Ok(page)
    }

    /// What it says about each key that clients use.
    ///
    /// # Errors
    /// It shows a key that clients don't use.
    pub fn of<'a>(&self, keys: &[&'a str]) -> Result<Vec<(&'a str, Option<ValueId>)>, String> {
        if let Some(unknown) = self.shown.keys().find(|key| !keys.contains(&key.as_str())) {
            return Err(format!("a list shows {unknown:?}, which nobody wrote"));
        }
        let within = |key: &&&str| {
            key.starts_with(self.prefix)
                && ***key > *self.after
                && (self.token.is_none() || ***key <= *self.last)
        };
        Ok(keys.iter().filter(within).map(|key| (*key, self.shown.get(*key).copied())).collect())
    }
}
