//! What Kafka 4.3 knows of its releases: their levels of `metadata.version`, which features begin with which, and what features
//! need. Asks nobody.

use anyhow::{Context as _, bail};

/// The one feature whose levels have names.
pub(super) const METADATA: &str = "metadata.version";
/// The names of the levels of `metadata.version`, from [`FIRST`] on.
const NAMES: &[&str] = &[
    "3.3-IV3", "3.4-IV0", "3.5-IV0", "3.5-IV1", "3.5-IV2", "3.6-IV0", "3.6-IV1", "3.6-IV2", "3.7-IV0", "3.7-IV1",
    "3.7-IV2", "3.7-IV3", "3.7-IV4", "3.8-IV0", "3.9-IV0", "4.0-IV0", "4.0-IV1", "4.0-IV2", "4.0-IV3", "4.1-IV0",
    "4.1-IV1", "4.2-IV0", "4.2-IV1", "4.3-IV0", "4.4-IV0",
];
const FIRST: i16 = 7;
/// The newest level that is not for tests only, and its name.
const LATEST: i16 = 30;
pub(super) const LATEST_NAME: &str = "4.3-IV0";

/// A feature, but for `metadata.version`.
pub(super) struct Feature {
    pub(super) name: &'static str,
    /// From level 1 on.
    levels: &'static [Level],
}

/// A level of a feature, by levels of `metadata.version`.
struct Level {
    /// New clusters have it from this one on.
    begins_with: i16,
    /// It cannot be without this one.
    needs: Option<i16>,
}

const fn level(begins_with: i16) -> Level {
    Level { begins_with, needs: None }
}

/// In the order in which Kafka tells them.
pub(super) const FEATURES: &[Feature] = &[
    Feature { name: "kraft.version", levels: &[level(21)] },
    Feature { name: "transaction.version", levels: &[level(24), level(24)] },
    Feature { name: "group.version", levels: &[level(22)] },
    Feature { name: "eligible.leader.replicas.version", levels: &[Level { begins_with: 26, needs: Some(23) }] },
    Feature { name: "share.version", levels: &[level(28)] },
    Feature { name: "streams.version", levels: &[level(29)] },
];

impl Feature {
    /// Its level in a new cluster of a release with this level of `metadata.version`.
    pub(super) fn level_in(&self, metadata: i16) -> i16 {
        let begun = self.levels.iter().rposition(|level| level.begins_with <= metadata);
        begun.and_then(|at| i16::try_from(at + 1).ok()).unwrap_or(0)
    }

    /// The level of `metadata.version` that a level needs, if it needs one.
    ///
    /// # Errors
    /// There is no such level.
    pub(super) fn needs(&self, level: i16) -> anyhow::Result<Option<i16>> {
        let at = usize::try_from(level).ok().filter(|at| *at <= self.levels.len());
        let at = at.with_context(|| format!("No feature:{} with feature level {level}", self.name))?;
        Ok(at.checked_sub(1).and_then(|at| self.levels[at].needs))
    }
}

/// The name of a level of `metadata.version`.
pub(super) fn name_of(metadata: i16) -> Option<&'static str> {
    NAMES.get(usize::try_from(metadata.checked_sub(FIRST)?).ok()?).copied()
}

/// The level of `metadata.version` of a release: `4.0-IV3`, or `4.0` and `4.0.1` for its last.
///
/// # Errors
/// There is no such release.
pub(super) fn level_of(release: &str) -> anyhow::Result<i16> {
    let segments: Vec<&str> = release.trim_end_matches('.').split('.').collect();
    let key = if segments.len() > 2 { segments[..2].join(".") } else { release.to_owned() };
    let fits = |(name, level): &(&str, i16)| {
        *name == key || *level <= LATEST && name.split_once("-IV").is_some_and(|(short, _)| short == key)
    };
    match NAMES.iter().copied().zip(FIRST..).filter(fits).last() {
        Some((_, level)) => Ok(level),
        None => bail!("Unknown {METADATA} '{release}'. Supported {METADATA} are: {}", NAMES.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_have_kafkas_levels() {
        for (release, metadata, features) in [
            ("3.3", Some(7), [0, 0, 0, 0, 0, 0]),
            ("3.8-IV0", Some(20), [0, 0, 0, 0, 0, 0]),
            ("3.9.1", Some(21), [1, 0, 0, 0, 0, 0]),
            ("4.0-IV0", Some(22), [1, 0, 1, 0, 0, 0]),
            ("4.0-IV2", Some(24), [1, 2, 1, 0, 0, 0]),
            ("4.0", Some(25), [1, 2, 1, 0, 0, 0]),
            ("4.1-IV0", Some(26), [1, 2, 1, 1, 0, 0]),
            ("4.2-IV0.7", Some(28), [1, 2, 1, 1, 1, 0]),
            ("4.2", Some(29), [1, 2, 1, 1, 1, 1]),
            ("4.3.1-SNAPSHOT", Some(30), [1, 2, 1, 1, 1, 1]),
            ("4.4-IV0", Some(31), [1, 2, 1, 1, 1, 1]),
            ("4.4", None, [0; 6]),
            ("4.3.", None, [0; 6]),
            ("4", None, [0; 6]),
            ("3.0-IV1", None, [0; 6]),
            ("", None, [0; 6]),
        ] {
            let found = level_of(release).ok();
            assert_eq!(found, metadata, "{release}");
            let levels: Vec<i16> = FEATURES.iter().map(|feature| feature.level_in(found.unwrap_or(0))).collect();
            assert_eq!(levels, features, "{release}");
        }
        for (level, is_known) in [(6, false), (7, true), (31, true), (32, false), (i16::MIN, false)] {
            assert_eq!(name_of(level).is_some(), is_known, "{level}");
        }
        assert_eq!(name_of(LATEST), Some(LATEST_NAME));
    }

    #[test]
    fn levels_need_what_kafka_says() {
        let needs = |name: &str, level| {
            let feature = FEATURES.iter().find(|feature| feature.name == name).unwrap();
            feature.needs(level).map_err(|error| error.to_string())
        };
        assert_eq!(needs("eligible.leader.replicas.version", 1), Ok(Some(23)));
        assert_eq!(needs("eligible.leader.replicas.version", 0), Ok(None));
        assert_eq!(needs("transaction.version", 2), Ok(None));
        for level in [-1, 2] {
            let problem = format!("No feature:group.version with feature level {level}");
            assert_eq!(needs("group.version", level), Err(problem));
        }
    }
}
