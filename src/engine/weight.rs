//! The weight of a linear layer as it is stored: values, or FP8 codes and scales. Nothing is converted before it is used.

use crate::error::{Error, Result};
use crate::format::{FormatId, Granularity, Scales};
use crate::tensor::{Dtype, Tensor};

/// A weight [out, in]; dimensions beyond the second count as columns.
#[derive(Clone)]
pub struct LinearWeight {
    values: Tensor,
    scales: Option<Scales>,
    /// The format of the codes, where these are codes.
    format: Option<FormatId>,
}

impl LinearWeight {
    /// A weight of values.
    ///
    /// # Errors
    /// [`Error::Refused`] when they are not BF16, F16 or F32.
    pub fn plain(name: &str, values: Tensor) -> Result<Self> {
        match values.dtype() {
            Dtype::BF16 | Dtype::F16 | Dtype::F32 => Ok(LinearWeight { values, scales: None, format: None }),
            other => {
                Err(Error::refused(format!("`{name}` is {other}, which the engine does not compute with"))
                    .with_hint("the engine computes with BF16, F16, F32, and FP8 with scales"))
            }
        }
    }

    /// A weight of FP8 codes, each times its scale.
    ///
    /// # Errors
    /// [`Error::Argument`] when the scales do not fit.
    pub fn scaled(codes: Tensor, scales: Scales, format: FormatId) -> Result<Self> {
        scales.check(&[codes.shape()[0], codes.elements() / codes.shape()[0].max(1)])?;
        Ok(LinearWeight { values: codes, scales: Some(scales), format: Some(format) })
    }

    /// Rows: the outputs of the layer.
    pub fn outputs(&self) -> usize {
        self.values.shape().first().copied().unwrap_or(1)
    }

    /// Columns: the inputs of the layer.
    pub fn inputs(&self) -> usize {
        self.values.shape().iter().skip(1).product()
    }

    /// Values, or codes.
    pub fn values(&self) -> &Tensor {
        &self.values
    }

    /// The scales of codes.
    pub fn scales(&self) -> Option<&Scales> {
        self.scales.as_ref()
    }

    /// The format of codes.
    pub fn format(&self) -> Option<FormatId> {
        self.format
    }

    /// The granularity of the scales.
    pub fn granularity(&self) -> Option<Granularity> {
        self.scales.as_ref().map(|scales| scales.granularity)
    }
}
