// SPDX-License-Identifier: Apache-2.0
//! Tags of objects: what the origin calls them, and what their path tells.

use headwater_media::path::{LivePath, Object};
use xxhash_rust::xxh3::Xxh3;

/// Tags of one object, beyond which the origin's are ignored.
const TAGS_MAX: usize = 64;

/// The tags of one object, as hashes: eight bytes each, whatever the origin calls them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tags(Vec<u64>);

impl Tags {
    /// Adds what a `Cache-Tag` (separated by commas) or `Surrogate-Key` (by spaces) field lists.
    pub fn add_field(&mut self, tenant: &str, value: &str) {
        for tag in value.split([',', ' ', '\t']).filter(|tag| !tag.is_empty()) {
            self.add(tenant, tag);
        }
    }

    /// Adds what a path of our own grammar tells: `channel:{channel}`, `track:{channel}/{track}` and, of a CMAF header,
    /// `generation:{channel}/{generation}`.
    pub fn add_path(&mut self, tenant: &str, path: &str) {
        let Some(LivePath { channel, object }) = LivePath::parse(path) else { return };
        self.add(tenant, &format!("channel:{channel}"));
        if let Some(track) = object.track() {
            self.add(tenant, &format!("track:{channel}/{track}"));
        }
        if let Object::Header(_, generation) = object {
            self.add(tenant, &format!("generation:{channel}/{generation}"));
        }
    }

    /// As they are kept on disk.
    pub fn hashes(&self) -> &[u64] {
        &self.0
    }

    /// Back from disk.
    pub fn from_hashes(hashes: Vec<u64>) -> Self {
        Self(hashes)
    }

    fn add(&mut self, tenant: &str, tag: &str) {
        let hash = hash(tenant, tag);
        if self.0.len() < TAGS_MAX && !self.0.contains(&hash) {
            self.0.push(hash);
        }
    }
}

/// A tag of one tenant: others' tags of the same name are not the same.
pub(super) fn hash(tenant: &str, tag: &str) -> u64 {
    let mut hasher = Xxh3::new();
    hasher.update(&(tenant.len() as u64).to_le_bytes());
    hasher.update(tenant.as_bytes());
    hasher.update(tag.as_bytes());
    hasher.digest()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_cannot_tag_without_end() {
        let mut tags = Tags::default();
        tags.add_field("news", &(0..10_000).map(|n| format!("t{n} ")).collect::<String>());
        assert_eq!(tags.hashes().len(), TAGS_MAX);
    }

    #[test]
    fn fields_of_either_form_and_paths_give_tags() {
        let mut tags = Tags::default();
        tags.add_path("news", "/live/demo/v0/init-3.mp4");
        tags.add_field("news", "sport, match-9");
        tags.add_field("news", "sport match-10");
        tags.add_path("news", "/not/ours.ts");
        let wanted = ["channel:demo", "track:demo/v0", "generation:demo/3", "sport", "match-9", "match-10"];
        assert_eq!(tags.hashes(), wanted.map(|tag| hash("news", tag)));
        assert_ne!(hash("news", "a"), hash("new", "sa"));
    }
}
