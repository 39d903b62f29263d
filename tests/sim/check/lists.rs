//! Pages of a list are in order, continue where the last one ended, and show what some client wrote. A page is a read of
//! every key in its range, which the key's history must explain: nothing acknowledged before is missing, and nothing
//! deleted before is shown.

use std::collections::BTreeMap;

use crate::client::{Request, element, elements};
use crate::history::Action;
use crate::value::{ValueId, Values};

/// What a list asks for.
#[derive(Clone, Copy, Debug)]
pub struct Query {
    /// Keys begin with it.
    pub prefix: &'static str,
    /// Keys that share the text up to it are shown as one; empty if each is shown.
    pub delimiter: &'static str,
    /// Maximum number of entries on a page.
    pub max: usize,
    /// The first version of the operation, with markers for tokens.
    pub first_version: bool,
}

impl Query {
    /// The request for the page after a key, or for the page that a token names.
    pub fn request(&self, bucket: &str, after: &str, token: Option<&str>) -> Request {
        let mut request = Request::new("GET", format!("/{bucket}"))
            .query("prefix", self.prefix)
            .query("max-keys", self.max.to_string());
        if !self.delimiter.is_empty() {
            request = request.query("delimiter", self.delimiter);
        }
        match (self.first_version, token) {
            (true, _) => request.query("marker", after),
            (false, Some(token)) => request.query("list-type", "2").query("continuation-token", token),
            (false, None) => request.query("list-type", "2").query("start-after", after),
        }
    }

    /// The common prefix that stands for a key.
    fn group<'a>(&self, key: &'a str) -> Option<&'a str> {
        let rest = key.strip_prefix(self.prefix).filter(|_| !self.delimiter.is_empty())?;
        let end = rest.find(self.delimiter)? + self.delimiter.len();
        Some(&key[..self.prefix.len() + end])
    }
}

/// A page of a list.
pub struct Page {
    query: Query,
    /// The keys that it shows.
    shown: BTreeMap<String, ValueId>,
    /// The common prefixes that it shows.
    groups: Vec<String>,
    /// It begins after this key or common prefix.
    after: String,
    /// It ends with this key or common prefix, which is `after` if it is empty.
    pub last: String,
    /// There is more.
    pub truncated: bool,
    /// Where the next page begins.
    pub token: Option<String>,
}

impl Page {
    /// Parses the answer to a request for what comes after `after`.
    ///
    /// # Errors
    /// The page is malformed.
    pub fn read(text: &str, query: Query, after: String, values: &Values) -> Result<Page, String> {
        let truncated = element(text, "IsTruncated") == Some("true");
        let next = if query.first_version { "NextMarker" } else { "NextContinuationToken" };
        let token = element(text, next).map(str::to_owned);
        let (shown, groups) = (BTreeMap::new(), Vec::new());
        let last = String::new();
        let mut page = Page { query, shown, groups, after, last, truncated, token };
        page.read_keys(text, values)?;
        page.read_groups(text)?;
        page.last = page.shown.keys().chain(&page.groups).max().unwrap_or(&page.after).clone();
        let count = page.shown.len() + page.groups.len();
        if count > query.max || truncated && count < query.max {
            return Err(format!("a page of {} has {count} entries (truncated: {truncated})", query.max));
        }
        if !query.first_version && element(text, "KeyCount") != Some(&count.to_string()) {
            return Err(format!("a page of {count} entries shows {:?}", element(text, "KeyCount")));
        }
        // The first version has a marker only with a delimiter: the last key is one.
        let has_token = truncated && !(query.first_version && query.delimiter.is_empty());
        let right = !query.first_version || page.token.as_ref().is_none_or(|token| *token == page.last);
        if has_token != page.token.is_some() || !right {
            return Err(format!("a list that is truncated ({truncated}) continues at {:?}", page.token));
        }
        Ok(page)
    }

    fn read_keys(&mut self, text: &str, values: &Values) -> Result<(), String> {
        let mut last = self.after.clone();
        for entry in elements(text, "Contents") {
            let key = element(entry, "Key").unwrap_or_default();
            let etag = element(entry, "ETag").unwrap_or_default().replace("&quot;", "");
            let value = values.by_etag(&etag).filter(|id| {
                let size = values.get(*id).contents.len().to_string();
                element(entry, "Size") == Some(&size)
            });
            let is_alone = self.query.group(key).is_none();
            match value {
                Some(value) if *key > *last && key.starts_with(self.query.prefix) && is_alone => {
                    key.clone_into(&mut last);
                    self.shown.insert(key.to_owned(), value);
                }
                _ => return Err(format!("a list after {last:?} shows {entry}")),
            }
        }
        Ok(())
    }

    fn read_groups(&mut self, text: &str) -> Result<(), String> {
        let mut last = self.after.clone();
        for entry in elements(text, "CommonPrefixes") {
            let group = element(entry, "Prefix").unwrap_or_default();
            // One that was passed in part is shown again.
            let follows = *group > *last || self.after.starts_with(group) && *group != *self.after;
            if self.query.group(group) != Some(group)
                || !follows
                || self.groups.iter().any(|known| known == group)
            {
                return Err(format!("a list after {last:?} shows the common prefix {group:?}"));
            }
            group.clone_into(&mut last);
            self.groups.push(group.to_owned());
        }
        Ok(())
    }

    /// What it says about each key that clients use.
    ///
    /// # Errors
    /// It shows a key that clients don't use.
    pub fn of<'a>(&self, keys: &[&'a str]) -> Result<Vec<(&'a str, Action)>, String> {
        if let Some(unknown) = self.shown.keys().find(|key| !keys.contains(&key.as_str())) {
            return Err(format!("a list shows {unknown:?}, which nobody wrote"));
        }
        let group = |key: &str| self.query.group(key).map(str::to_owned);
        let passed = |key: &str, place: &str| key <= place || group(key).is_some_and(|group| group == place);
        let within: Vec<&'a str> = keys
            .iter()
            .copied()
            .filter(|key| key.starts_with(self.query.prefix) && !passed(key, &self.after))
            .filter(|key| !self.truncated || passed(key, &self.last))
            .collect();
        if let Some(empty) =
            self.groups.iter().find(|shown| !within.iter().any(|key| group(key).as_ref() == Some(*shown)))
        {
            return Err(format!("a list shows the common prefix {empty:?}, which no key has"));
        }
        let alone =
            |shown: &String| within.iter().filter(|key| group(key).as_ref() == Some(shown)).count() == 1;
        let said = within.iter().filter_map(|key| match group(key) {
            Some(shown) if !self.groups.contains(&shown) => Some((*key, Action::Read(None))),
            // Which of several keys are there, it does not say.
            Some(shown) => alone(&shown).then_some((*key, Action::Exists)),
            None => Some((*key, Action::Read(self.shown.get(*key).copied()))),
        });
        Ok(said.collect())
    }
}
