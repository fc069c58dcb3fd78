//! What the watches know, one object or many; many always in the same order.
//!
//! A watch keeps what it knows in an order that is another one with every process. Whoever goes by that would delete, fence and restore now so and
//! now so, and what went wrong once could not be followed again. Where only one is sought that is the same in any order, the watch itself is asked.

use std::sync::Arc;

use kube::Resource;
use kube::runtime::reflector::{ObjectRef, Store};

/// An object that a watch knows.
#[must_use]
pub fn get<K>(store: &Store<K>, name: &str, namespace: &str) -> Option<Arc<K>>
where
    K: Resource<DynamicType = ()> + Clone + 'static,
{
    store.get(&ObjectRef::new(name).within(namespace))
}

/// Everything that a watch knows, by namespace and name.
#[must_use]
pub fn all<K>(store: &Store<K>) -> Vec<Arc<K>>
where
    K: Resource<DynamicType = ()> + Clone + 'static,
{
    those(store, |_| true)
}

/// Those of the objects that a watch knows that are meant, by namespace and name.
#[must_use]
pub fn those<K>(store: &Store<K>, is_meant: impl Fn(&K) -> bool) -> Vec<Arc<K>>
where
    K: Resource<DynamicType = ()> + Clone + 'static,
{
    let mut found = store.state_filter(is_meant);
    found.sort_by(|one, other| place(&**one).cmp(&place(&**other)));
    found
}

fn place<K: Resource>(object: &K) -> (Option<&str>, Option<&str>) {
    let metadata = object.meta();
    (metadata.namespace.as_deref(), metadata.name.as_deref())
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::ResourceExt;
    use kube::runtime::reflector::store;
    use kube::runtime::watcher::Event;

    use super::*;

    #[test]
    fn what_a_watch_knows_is_told_in_the_same_order_whatever_came_first() {
        let (reader, mut writer) = store::<ConfigMap>();
        writer.apply_watcher_event(&Event::Init);
        // So many that no order of a hash is theirs by chance.
        let mut names: Vec<String> = (10..42).map(|number| format!("restore-{number}")).collect();
        for name in names.iter().rev() {
            let mut object = ConfigMap::default();
            object.metadata.name = Some(name.clone());
            object.metadata.namespace = Some("interior".to_owned());
            writer.apply_watcher_event(&Event::InitApply(object));
        }
        writer.apply_watcher_event(&Event::InitDone);
        let told = |found: Vec<Arc<ConfigMap>>| -> Vec<String> {
            found.iter().map(|object| object.name_any()).collect()
        };
        assert_eq!(told(all(&reader)), names);
        names.retain(|name| name.ends_with('7'));
        assert_eq!(
            told(those(&reader, |object| object.name_any().ends_with('7'))),
            names
        );
    }
}
