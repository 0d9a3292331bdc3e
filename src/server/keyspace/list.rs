//! Lists: elements in a row, in a chain of listpacks.

use std::collections::VecDeque;
use std::sync::Arc;

use super::listpack::{Listpack, Place, encoded_len};
use super::text::Element;

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

    /// Whether a node that is not empty has room for an element.
    fn has_room(self, node: &Listpack, element: &[u8]) -> bool {
        /// A node limited by its elements is no longer than this.
        const BYTES_MAX: usize = 8192;
        let bytes = node.as_bytes().len() + encoded_len(element);
        match self {
            NodeLimit::Bytes(max) => bytes <= max,
            NodeLimit::Elements(max) => node.len() < max && bytes <= BYTES_MAX,
        }
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
        let node = match end {
            End::Left => self.nodes.front_mut(),
            End::Right => self.nodes.back_mut(),
        };
        match node.filter(|node| limit.has_room(node, element)) {
            Some(node) => match end {
                End::Left => Arc::make_mut(node).push_front(element),
                End::Right => Arc::make_mut(node).push(element),
            },
            None => {
                let mut node = Listpack::default();
                node.push(element);
                match end {
                    End::Left => self.nodes.push_front(Arc::new(node)),
                    End::Right => self.nodes.push_back(Arc::new(node)),
                }
            }
        }
    }

    /// Takes the element at an end away.
    pub fn pop(&mut self, end: End) -> Option<Vec<u8>> {
        let node = match end {
            End::Left => self.nodes.front_mut(),
            End::Right => self.nodes.back_mut(),
        }?;
        let node = Arc::make_mut(node);
        let place = match end {
            End::Left => node.first(),
            End::Right => node.last(),
        }?;
        let element = node.get(place).to_vec();
        node.remove(place, 1);
        let is_empty = node.is_empty();
        self.len -= 1;
        if is_empty {
            match end {
                End::Left => self.nodes.pop_front(),
                End::Right => self.nodes.pop_back(),
            };
        }
        Some(element)
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

    /// Elements from the last one back.
    pub fn iter_back(&self) -> impl Iterator<Item = Element<'_>> {
        self.nodes.iter().rev().flat_map(|node| {
            let places: Vec<Place> = node.places().collect();
            places.into_iter().rev().map(|at| node.get(at))
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
        /// A node's counters and its listpack's vector.
        const NODE_HEAD_BYTES: usize = 40;
        let each = self
            .nodes
            .iter()
            .map(|node| node.heap_bytes() + NODE_HEAD_BYTES);
        self.nodes.capacity() * size_of::<Arc<Listpack>>()
            + super::estimate(each, self.nodes.len(), samples)
    }
}
