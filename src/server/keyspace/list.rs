//! Lists: elements in a row, in a chain of listpacks.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use super::held::{self, Whole};
use super::listpack::{Listpack, Place, encoded_len};
use super::text::Element;
use crate::resp::canonical_integer;

/// How much one node of a list may hold: `list-max-listpack-size`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeLimit {
    /// This many bytes: the settings −1 to −5 are 4 to 64 KiB.
    Bytes(usize),
    /// This many elements, in no more than 8 KiB.
    Elements(usize),
}

impl NodeLimit {
    /// The limit that a value of `list-max-listpack-size` means.
    pub fn from_setting(setting: i32) -> NodeLimit {
        match setting {
            1.. => NodeLimit::Elements(usize::try_from(setting).unwrap_or(1)),
            0 => NodeLimit::Elements(1),
            -1 => NodeLimit::Bytes(4096),
            -2 => NodeLimit::Bytes(8192),
            -3 => NodeLimit::Bytes(16_384),
            -4 => NodeLimit::Bytes(32_768),
            _ => NodeLimit::Bytes(65_536),
        }
    }

    /// A node limited by its elements is no longer than this.
    const BYTES_MAX: usize = 8192;

    /// How long a node is going to be that has its first element. Bytes.
    fn node_bytes(self, node: &Listpack) -> usize {
        match self {
            NodeLimit::Bytes(max) => max,
            NodeLimit::Elements(max) => {
                let bytes = node.as_bytes().len().saturating_mul(max);
                bytes.min(Self::BYTES_MAX)
            }
        }
    }

    /// Whether a node that is not empty has room for an element.
    fn has_room(self, node: &Listpack, element: &[u8]) -> bool {
        let bytes = node.as_bytes().len() + encoded_len(element);
        match self {
            NodeLimit::Bytes(max) => bytes <= max,
            NodeLimit::Elements(max) => node.len() < max && bytes <= Self::BYTES_MAX,
        }
    }
}

/// A list of more nodes likely goes on to grow, so a new one gets all its room with its second element: it need not grow
/// and move, and what it may not need is little beside the others.
const GROWING_NODES: usize = 16;

/// A node's counters and its listpack's vector.
const NODE_HEAD_BYTES: usize = 48;

impl Whole for Listpack {
    fn copied_bytes(&self) -> usize {
        self.heap_bytes() + NODE_HEAD_BYTES
    }
}

/// The elements of a key. A clone shares the nodes, which are copied when they are changed.
#[derive(Clone, Debug, Default)]
pub struct List {
    /// None is empty.
    nodes: VecDeque<Arc<Listpack>>,
    len: usize,
}

/// An end of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The first element's.
    Left,
    /// The last element's.
    Right,
}

/// An element that is looked for.
#[derive(Clone, Copy, Debug)]
pub struct Sought<'a> {
    bytes: &'a [u8],
    number: Option<i64>,
}

impl<'a> Sought<'a> {
    /// Looks for these bytes.
    pub fn new(bytes: &'a [u8]) -> Sought<'a> {
        Sought {
            bytes,
            number: canonical_integer(bytes),
        }
    }

    /// Whether an element is what is looked for.
    pub fn is(self, element: Element<'_>) -> bool {
        match element {
            Element::Integer(n) => self.number == Some(n),
            Element::Bytes(found) => found == self.bytes,
        }
    }
}

impl List {
    /// What `OBJECT ENCODING` calls the form.
    pub fn encoding(&self) -> &'static str {
        "quicklist"
    }

    /// Elements.
    pub fn len(&self) -> usize {
        self.len
    }

    /// True without any.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The nodes, for whoever saves them.
    pub fn nodes(&self) -> &VecDeque<Arc<Listpack>> {
        &self.nodes
    }

    /// Adds a node at the right end, as a file has it; an empty one is left out.
    pub fn push_node(&mut self, node: Listpack) {
        if !node.is_empty() {
            self.len += node.len();
            self.nodes.push_back(Arc::new(node));
        }
    }

    /// Adds an element at an end.
    pub fn push(&mut self, end: End, element: &[u8], limit: NodeLimit) {
        self.len += 1;
        let nodes = self.nodes.len();
        let node = match end {
            End::Left => self.nodes.front_mut(),
            End::Right => self.nodes.back_mut(),
        };
        if let Some(node) = node {
            if limit.has_room(node, element) {
                let node = held::make_mut(node);
                if nodes > GROWING_NODES && node.len() == 1 {
                    node.open(limit.node_bytes(node), end == End::Left);
                }
                return match end {
                    End::Left => node.push_front(element),
                    End::Right => node.push(element),
                };
            }
            // It seldom grows again from this end. One that a snapshot shares keeps its room.
            if let Some(node) = Arc::get_mut(node) {
                node.settle();
            }
        }
        let node = Arc::new(Listpack::of(element));
        match end {
            End::Left => self.nodes.push_front(node),
            End::Right => self.nodes.push_back(node),
        }
    }

    /// Takes the element at an end away.
    pub fn pop(&mut self, end: End) -> Option<Vec<u8>> {
        self.pop_with(end, |element| element.to_vec())
    }

    /// Takes the element at an end away, and shows it before it goes.
    pub fn pop_with<R>(&mut self, end: End, show: impl FnOnce(Element<'_>) -> R) -> Option<R> {
        let node = match end {
            End::Left => self.nodes.front_mut(),
            End::Right => self.nodes.back_mut(),
        }?;
        let place = match end {
            End::Left => node.first(),
            End::Right => node.last(),
        }?;
        let shown = show(node.get(place));
        self.len -= 1;
        if !node.is_only(place) {
            held::make_mut(node).remove(place, 1);
            return Some(shown);
        }
        // Nothing of the node stays, so that it need not be copied where it is shared.
        held::leave_whole(node);
        match end {
            End::Left => self.nodes.pop_front(),
            End::Right => self.nodes.pop_back(),
        };
        Some(shown)
    }

    /// Puts an element before the one at `index`; at the right end where there is none.
    pub fn insert(&mut self, index: usize, element: &[u8], limit: NodeLimit) {
        let Some((number, inside)) = self.find(index).filter(|_| index > 0) else {
            let end = if index == 0 { End::Left } else { End::Right };
            return self.push(end, element, limit);
        };
        self.len += 1;
        let node = &mut self.nodes[number];
        let place = node.nth(inside);
        if limit.has_room(node, element) {
            held::make_mut(node).insert(place, &[element]);
            return;
        }
        let mut at = number;
        if inside > 0 {
            let place = place.expect("the index is inside the node");
            let behind = held::make_mut(node).split_off(place);
            self.nodes.insert(number + 1, Arc::new(behind));
            at = number + 1;
        }
        // The element now belongs between two nodes: at the end of the left one, or in one of its own.
        match at.checked_sub(1).map(|left| &mut self.nodes[left]) {
            Some(left) if limit.has_room(left, element) => held::make_mut(left).push(element),
            _ => self.nodes.insert(at, Arc::new(Listpack::of(element))),
        }
    }

    /// Replaces the element at an index; false when there is none.
    pub fn set(&mut self, index: usize, element: &[u8], limit: NodeLimit) -> bool {
        let Some((number, inside)) = self.find(index) else {
            return false;
        };
        let node = &mut self.nodes[number];
        let place = node.nth(inside).expect("the index is inside the node");
        if node.len() == 1 && held::is_shared(node) {
            held::leave_whole(node);
            *node = Arc::new(Listpack::of(element));
        } else if node.len() == 1 || limit.has_room(node, element) {
            held::make_mut(node).replace(place, element);
        } else {
            self.remove(index, 1);
            self.insert(index, element, limit);
        }
        true
    }

    /// Removes up to `count` elements from an index on.
    pub fn remove(&mut self, index: usize, count: usize) {
        let Some((mut number, mut inside)) = self.find(index) else {
            return;
        };
        let mut left = count.min(self.len - index);
        self.len -= left;
        let first_whole = number + usize::from(inside > 0);
        let mut whole = 0;
        while left > 0 {
            let node = &mut self.nodes[number];
            let len = node.len();
            let here = left.min(len - inside);
            if here == len {
                whole += 1;
            } else {
                let place = node.nth(inside).expect("the index is inside the node");
                held::make_mut(node).remove(place, here);
            }
            left -= here;
            inside = 0;
            number += 1;
        }
        let whole = self.nodes.drain(first_whole..first_whole + whole);
        whole.for_each(|node| held::leave_whole(&node));
    }

    /// Removes up to `max` elements that are these bytes, the ones nearest to an end; returns how many.
    pub fn remove_equal(&mut self, bytes: &[u8], max: usize, from: End) -> usize {
        let mut removed = 0;
        let mut visited = 0;
        let nodes = self.nodes.len();
        for step in 0..nodes {
            if removed == max {
                break;
            }
            visited += 1;
            let node = match from {
                End::Left => &mut self.nodes[step],
                End::Right => &mut self.nodes[nodes - 1 - step],
            };
            let sought = Sought::new(bytes);
            let mut found: Vec<Place> = node
                .places()
                .filter(|at| sought.is(node.get(*at)))
                .collect();
            match from {
                End::Left => found.truncate(max - removed),
                End::Right => drop(found.drain(..found.len().saturating_sub(max - removed))),
            }
            if found.is_empty() {
                continue;
            }
            removed += found.len();
            if found.len() == node.len() {
                held::leave_whole(node);
                *node = Arc::default();
            } else {
                let node = held::make_mut(node);
                found.iter().rev().for_each(|at| node.remove(*at, 1));
            }
        }
        if removed > 0 {
            self.len -= removed;
            self.drop_empty(match from {
                End::Left => 0..visited,
                End::Right => nodes - visited..nodes,
            });
        }
        removed
    }

    /// Takes out what has been emptied of these nodes, without a look at the others.
    fn drop_empty(&mut self, nodes: Range<usize>) {
        let mut kept = nodes.start;
        for at in nodes.clone() {
            if !self.nodes[at].is_empty() {
                self.nodes.swap(kept, at);
                kept += 1;
            }
        }
        self.nodes.drain(kept..nodes.end);
    }

    /// The element at an index from the left.
    pub fn get(&self, index: usize) -> Option<Element<'_>> {
        let (node, inside) = self.find(index)?;
        let node = &self.nodes[node];
        Some(node.get(node.nth(inside)?))
    }

    /// Elements from an index on.
    pub fn iter_from(&self, index: usize) -> impl Iterator<Item = Element<'_>> {
        let (node, inside) = self.find(index).unwrap_or((self.nodes.len(), 0));
        self.nodes
            .iter()
            .skip(node)
            .flat_map(|node| node.iter())
            .skip(inside)
    }

    /// Elements before an index, from there back to the first.
    pub fn iter_back_from(&self, index: usize) -> impl Iterator<Item = Element<'_>> {
        let last = index.min(self.len).checked_sub(1);
        let (nodes, skipped) = match last.and_then(|last| self.find(last)) {
            Some((node, inside)) => (node + 1, self.nodes[node].len() - 1 - inside),
            None => (0, 0),
        };
        let back = self.nodes.range(..nodes).rev().flat_map(|node| {
            let places: Vec<Place> = node.places().collect();
            places.into_iter().rev().map(|at| node.get(at))
        });
        back.skip(skipped)
    }

    /// About how many bytes others have alone when it is dropped.
    pub(super) fn shared_bytes(&self) -> usize {
        held::sum_of_some(self.nodes.len(), |number| {
            let node = &self.nodes[number];
            if held::is_shared(node) {
                node.copied_bytes()
            } else {
                0
            }
        })
    }

    /// The node that holds an index, and the index inside it; looked for from the nearer end.
    pub(super) fn find(&self, index: usize) -> Option<(usize, usize)> {
        if index >= self.len {
            return None;
        }
        if index < self.len / 2 {
            let mut first = 0;
            for (number, node) in self.nodes.iter().enumerate() {
                let len = node.len();
                if index < first + len {
                    return Some((number, index - first));
                }
                first += len;
            }
        } else {
            let mut first = self.len;
            for (number, node) in self.nodes.iter().enumerate().rev() {
                first -= node.len();
                if index >= first {
                    return Some((number, index - first));
                }
            }
        }
        None
    }

    /// Bytes of memory beyond those of the `List` itself.
    pub fn heap_bytes(&self, samples: usize) -> usize {
        let each = self.nodes.iter().map(|node| node.copied_bytes());
        self.nodes.capacity() * size_of::<Arc<Listpack>>()
            + super::estimate(each, self.nodes.len(), samples)
    }

    /// Of so many bytes that its nodes take, the fair part of this one of those who have them.
    pub(super) fn fair_part(&self, bytes: usize) -> usize {
        held::fair_part(bytes, self.nodes.len(), |number| {
            Arc::strong_count(&self.nodes[number])
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::keyspace::steps;
    use proptest::prelude::*;

    fn texts(list: &List) -> Vec<Vec<u8>> {
        list.iter_from(0).map(Element::to_vec).collect()
    }

    #[test]
    fn a_removal_near_an_end_looks_at_no_node_of_the_rest() {
        let mut list = List::default();
        for n in 0..10_000 {
            list.push(End::Right, n.to_string().as_bytes(), NodeLimit::Elements(4));
        }
        let mut model: Vec<i64> = (0..10_000).collect();
        for n in [0, 1, 2, 3, 9_999, 5, 9_998, 9_997, 9_996, 9_990, 4, 6, 7] {
            let end = if n < 5000 { End::Left } else { End::Right };
            let (steps, removed) =
                steps::of(|| list.remove_equal(n.to_string().as_bytes(), 1, end));
            assert_eq!(removed, 1);
            assert!(steps < 10, "{steps} nodes for {n}");
            model.retain(|other| *other != n);
        }
        assert!(
            list.iter_from(0)
                .eq(model.into_iter().map(Element::Integer))
        );
        assert!(list.nodes().iter().all(|node| !node.is_empty()));
    }

    #[test]
    fn the_nodes_of_a_growing_list_are_moved_once_and_hold_little_beside_their_elements() {
        let limits = [
            NodeLimit::Bytes(4096),
            NodeLimit::Bytes(8192),
            NodeLimit::Elements(100),
        ];
        for (limit, end) in limits
            .into_iter()
            .flat_map(|l| [(l, End::Left), (l, End::Right)])
        {
            let mut list = List::default();
            let mut moves = 0;
            let mut last = (std::ptr::null(), 0);
            for n in 0..20_000 {
                list.push(end, format!("{n:>50}").as_bytes(), limit);
                let node = match end {
                    End::Left => list.nodes.front(),
                    End::Right => list.nodes.back(),
                };
                let at = node
                    .map(|node| (Arc::as_ptr(node), node.heap_bytes()))
                    .unwrap();
                moves += usize::from(at != std::mem::replace(&mut last, at));
            }
            let bytes =
                |of: fn(&Listpack) -> usize| list.nodes.iter().map(|n| of(n)).sum::<usize>();
            let (used, held) = (bytes(|n| n.as_bytes().len()), bytes(Listpack::heap_bytes));
            assert!(
                held <= used + used / 16 + 8192,
                "{held} for {used} with {limit:?}"
            );
            let nodes = list.nodes.len();
            assert!(
                moves < 2 * nodes + 400,
                "{moves} for {nodes} nodes with {limit:?}"
            );
        }
    }

    #[test]
    fn a_shared_node_is_not_copied_to_lose_all_that_it_has() {
        let long = vec![b'x'; 1 << 20];
        let limit = NodeLimit::Bytes(8192);
        let mut list = List::default();
        (0..4).for_each(|_| list.push(End::Right, &long, limit));
        let image = list.clone();
        let (steps, ()) = steps::of(|| {
            assert_eq!(list.pop(End::Left).unwrap().len(), long.len());
            assert_eq!(list.pop(End::Right).unwrap().len(), long.len());
            assert!(list.set(1, b"short", limit));
            assert_eq!(list.remove_equal(&long, 0, End::Left), 0);
            assert_eq!(list.remove_equal(&long, 9, End::Left), 1);
        });
        assert!(steps < 1000, "{steps} bytes");
        assert_eq!(texts(&list), [b"short"]);
        assert_eq!(texts(&image), vec![long; 4]);
    }

    fn element() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            (0_i64..4).prop_map(|n| n.to_string().into_bytes()),
            (1_usize..60).prop_map(|n| vec![b'x'; n]),
            Just(vec![b'y'; 2100]),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn it_is_a_sequence(
            setting in prop_oneof![Just(-1), Just(3), Just(1)],
            ops in proptest::collection::vec(
                (0_u8..8, any::<proptest::sample::Index>(), element(), 0_usize..12),
                0..80,
            ),
        ) {
            let limit = NodeLimit::from_setting(setting);
            let mut list = List::default();
            let mut model: Vec<Vec<u8>> = Vec::new();
            for (op, index, bytes, count) in ops {
                let at = index.index(model.len() + 1);
                match op {
                    0 => {
                        list.push(End::Left, &bytes, limit);
                        model.insert(0, bytes);
                    }
                    1 | 2 => {
                        list.push(End::Right, &bytes, limit);
                        model.push(bytes);
                    }
                    3 | 4 => {
                        list.insert(at, &bytes, limit);
                        model.insert(at, bytes);
                    }
                    5 => {
                        prop_assert_eq!(list.set(at, &bytes, limit), at < model.len());
                        if let Some(place) = model.get_mut(at) {
                            *place = bytes;
                        }
                    }
                    6 => {
                        list.remove(at, count);
                        model.drain(at..model.len().min(at + count));
                    }
                    _ => {
                        let from = if at % 2 == 0 { End::Left } else { End::Right };
                        let mut matches: Vec<usize> =
                            (0..model.len()).filter(|n| model[*n] == bytes).collect();
                        if from == End::Right {
                            matches.reverse();
                        }
                        matches.truncate(count);
                        matches.sort_unstable();
                        prop_assert_eq!(list.remove_equal(&bytes, count, from), matches.len());
                        for n in matches.into_iter().rev() {
                            model.remove(n);
                        }
                    }
                }
                prop_assert_eq!(list.len(), model.len());
                prop_assert_eq!(texts(&list), &model[..]);
                for from in [at, model.len(), model.len() + 7] {
                    let back: Vec<Vec<u8>> = list.iter_back_from(from).map(Element::to_vec).collect();
                    let want = model[..from.min(model.len())].iter().rev();
                    prop_assert!(back.iter().eq(want), "back from {}", from);
                }
                for node in list.nodes() {
                    prop_assert!(!node.is_empty());
                    let fits = match limit {
                        NodeLimit::Bytes(max) => node.as_bytes().len() <= max,
                        NodeLimit::Elements(max) => node.len() <= max,
                    };
                    prop_assert!(fits || node.len() == 1);
                }
            }
        }
    }
}
