// SPDX-License-Identifier: Apache-2.0
//! Doubly linked lists over one slab: any member leaves in constant time, and what left leaves nothing behind.
//!
//! Playlists are replaced several times a second: a queue that kept the place of what was removed would grow for ever.

/// No node.
const NONE: u32 = u32::MAX;

#[derive(Debug)]
struct Node<T> {
    value: Option<T>,
    previous: u32,
    next: u32,
}

/// The nodes of all lists.
#[derive(Debug)]
pub(super) struct Slab<T> {
    nodes: Vec<Node<T>>,
    free: u32,
}

/// One list: where it begins and ends in the slab.
#[derive(Debug)]
pub(super) struct List {
    first: u32,
    last: u32,
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self { nodes: Vec::new(), free: NONE }
    }
}

impl Default for List {
    fn default() -> Self {
        Self { first: NONE, last: NONE }
    }
}

impl List {
    /// Appends a value and returns its node.
    pub(super) fn push_back<T>(&mut self, slab: &mut Slab<T>, value: T) -> u32 {
        let node = Node { value: Some(value), previous: self.last, next: NONE };
        let at = slab.insert(node);
        match slab.nodes.get_mut(self.last as usize) {
            Some(last) => last.next = at,
            None => self.first = at,
        }
        self.last = at;
        at
    }

    /// Takes the oldest.
    pub(super) fn pop_front<T>(&mut self, slab: &mut Slab<T>) -> Option<T> {
        self.remove(slab, self.first)
    }

    /// Takes out a node that is in this list.
    pub(super) fn remove<T>(&mut self, slab: &mut Slab<T>, at: u32) -> Option<T> {
        let node = slab.nodes.get_mut(at as usize)?;
        let value = node.value.take()?;
        let (previous, next) = (node.previous, node.next);
        node.next = slab.free;
        slab.free = at;
        match slab.nodes.get_mut(previous as usize) {
            Some(node) => node.next = next,
            None => self.first = next,
        }
        match slab.nodes.get_mut(next as usize) {
            Some(node) => node.previous = previous,
            None => self.last = previous,
        }
        Some(value)
    }

    /// Whether nothing is in it.
    pub(super) fn is_empty(&self) -> bool {
        self.first == NONE
    }
}

impl<T> Slab<T> {
    fn insert(&mut self, node: Node<T>) -> u32 {
        let at = self.free;
        if let Some(free) = self.nodes.get_mut(at as usize) {
            self.free = free.next;
            *free = node;
            return at;
        }
        let at = u32::try_from(self.nodes.len()).expect("fewer residents than 2^32: each weighs more than a byte");
        self.nodes.push(node);
        at
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn two_lists_in_one_slab_behave_as_two_queues(steps in prop::collection::vec((0u8..3, 0usize..2, any::<u16>()), 0..300)) {
            let mut slab = Slab::default();
            let mut lists = [List::default(), List::default()];
            let mut model: [VecDeque<(u32, u16)>; 2] = Default::default();
            for (step, which, value) in steps {
                let (list, model) = (&mut lists[which], &mut model[which]);
                match step {
                    0 => model.push_back((list.push_back(&mut slab, value), value)),
                    1 => prop_assert_eq!(list.pop_front(&mut slab), model.pop_front().map(|(_, value)| value)),
                    _ if model.is_empty() => {}
                    _ => {
                        let (node, value) = model.remove(usize::from(value) % model.len()).unwrap();
                        prop_assert_eq!(list.remove(&mut slab, node), Some(value));
                    }
                }
                prop_assert_eq!(list.is_empty(), model.is_empty());
            }
            prop_assert!(slab.nodes.len() <= 300);
        }
    }

    #[test]
    fn nodes_are_used_again() {
        let mut slab = Slab::default();
        let mut list = List::default();
        for value in 0..10_000 {
            let node = list.push_back(&mut slab, value);
            assert_eq!(list.remove(&mut slab, node), Some(value));
        }
        assert_eq!(slab.nodes.len(), 1);
    }
}
