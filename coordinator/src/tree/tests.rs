use super::*;

#[test]
fn a_new_tree_looks_like_zookeepers() {
    let tree = Tree::new();
    assert_eq!(tree.nodes_count(), 4);
    let stat = |path: &str| tree.node(path).map(Node::stat);
    assert_eq!(stat("/"), Some(Stat { cversion: -1, num_children: 1, ..Stat::default() }));
    assert_eq!(stat("/zookeeper"), Some(Stat { cversion: -2, num_children: 2, ..Stat::default() }));
    assert_eq!(stat("/zookeeper/config"), Some(Stat { aversion: -1, ..Stat::default() }));
    assert_eq!(stat(""), stat("/"));
    for missing in ["zookeeper", "/zookeeper/", "//", "/zookeeper//quota", "/a"] {
        assert_eq!(stat(missing), None, "{missing}");
    }
}
