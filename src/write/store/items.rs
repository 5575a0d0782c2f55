//! The different tensors of a family: each once, whatever the number of schemes that hold it.

use std::collections::{BTreeMap, HashMap};

use crate::write::content::{Form, OutputTensor};

/// Every different tensor of a family, and which scheme holds which.
pub(crate) struct Items {
    /// Sorted by name, so that nothing depends on the order of schemes; the forms of one tensor follow one another.
    pub tensors: Vec<OutputTensor>,
    /// For each scheme, ascending positions in `tensors`.
    pub of_scheme: Vec<Vec<usize>>,
}

impl Items {
    /// Compares the outputs of all schemes. A tensor of one name and one form is the same in every scheme of a family: the
    /// layout is one for all, and scales belong to fused groups, which are whole or not there.
    pub fn collect(schemes: Vec<Vec<OutputTensor>>) -> Self {
        let mut sorted: BTreeMap<(String, Form), (OutputTensor, Vec<usize>)> = BTreeMap::new();
        let count = schemes.len();
        for (scheme, outputs) in schemes.into_iter().enumerate() {
            for output in outputs {
                let key = (output.spec.name.clone(), output.form());
                sorted.entry(key).or_insert_with(|| (output, Vec::new())).1.push(scheme);
            }
        }
        let mut items = Items { tensors: Vec::new(), of_scheme: vec![Vec::new(); count] };
        for (item, (tensor, holders)) in sorted.into_values().enumerate() {
            items.tensors.push(tensor);
            holders.into_iter().for_each(|scheme| items.of_scheme[scheme].push(item));
        }
        items
    }

    /// The tensors of the scheme at `position`.
    pub fn tensors_of(&self, position: usize) -> Vec<&OutputTensor> {
        self.of_scheme[position].iter().map(|&item| &self.tensors[item]).collect()
    }

    /// Tensor bytes of `items`.
    pub fn bytes(&self, items: &[usize]) -> u64 {
        items.iter().map(|&item| self.tensors[item].spec.bytes()).sum()
    }

    /// Positions by name, those of all forms of a tensor together.
    pub fn by_name(&self) -> HashMap<&str, Vec<usize>> {
        let mut positions = HashMap::<&str, Vec<usize>>::new();
        for (position, tensor) in self.tensors.iter().enumerate() {
            positions.entry(&tensor.spec.name).or_default().push(position);
        }
        positions
    }
}
