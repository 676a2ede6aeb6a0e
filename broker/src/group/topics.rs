//! What groups whose members are assigned partitions by the coordinator have to know of the cluster's topics. Holds no
//! topic.

use uuid::Uuid;

/// A topic as an assignor sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TopicShape {
    /// Its id.
    pub id: Uuid,
    /// Number of partitions.
    pub partitions: i32,
}

/// The topics that there are.
pub trait Topics {
    /// A topic by name; `None` if there is none with an id.
    fn topic(&self, name: &str) -> Option<TopicShape>;
    /// The name of a topic.
    fn name(&self, id: Uuid) -> Option<String>;
    /// The names of those topics that are wanted.
    fn matching(&self, is_wanted: &dyn Fn(&str) -> bool) -> Vec<String>;
}
