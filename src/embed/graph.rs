//! The ONNX graph of a BERT encoder, made from the shape of the model and the header of its
//! weights. The graph is some 28 kB; its weights stay in the safetensors file, which the runtime
//! maps, so that one copy of the bytes serves every process and none is parsed.

use super::manifest::Encoder;
use super::onnx::{Attribute, Graph, Side};
use super::safetensors::{Header, HeaderError};

/// The inputs that a tokenizer makes, each `batch x sequence`.
const INPUTS: [&str; 3] = ["input_ids", "attention_mask", "token_type_ids"];

/// The output, `batch x sequence x hidden`, that pooling reads.
pub const OUTPUT: &str = "last_hidden_state";

/// Makes the model of `encoder` whose weights lie in the file called `location`, as `header` says.
///
/// # Errors
/// A weight is absent or of another shape than `encoder` needs.
pub fn bert(encoder: &Encoder, header: &Header, location: &str) -> Result<Vec<u8>, HeaderError> {
    let mut bert = Bert { graph: Graph::default(), header, location, encoder: *encoder };
    bert.constants();
    let mut x = bert.embeddings()?;
    bert.mask();
    for layer in 0..encoder.layers {
        x = bert.layer(layer, &x)?;
    }
    bert.graph.node("Reshape", &[&x, "shape_out"], OUTPUT, &[]);
    let free = [Side::Named("batch"), Side::Named("sequence")];
    for input in INPUTS {
        bert.graph.input(input, &free);
    }
    let [batch, sequence] = free;
    bert.graph.output(OUTPUT, &[batch, sequence, Side::Fixed(signed(encoder.hidden))]);
    Ok(bert.graph.into_model("bert"))
}

struct Bert<'a> {
    graph: Graph,
    header: &'a Header,
    location: &'a str,
    encoder: Encoder,
}

impl Bert<'_> {
    fn constants(&mut self) {
        let Encoder { heads, hidden, .. } = self.encoder;
        let head = hidden / heads.max(1);
        self.graph.ints("zero", &[0]);
        self.graph.ints("one", &[1]);
        self.graph.ints("two", &[2]);
        self.graph.ints("middle_axes", &[1, 2]);
        self.graph.ints("rows", &[-1, signed(hidden)]);
        self.graph.ints("heads", &[signed(heads), signed(head)]);
        self.graph.ints("hidden", &[signed(hidden)]);
        self.graph.float("one_f", 1.0);
        self.graph.float("half_f", 0.5);
        self.graph.float("root_two", std::f32::consts::SQRT_2);
        self.graph.float("lowest", f32::MIN);
        #[expect(clippy::cast_precision_loss, reason = "a head has a few dozen components")]
        self.graph.float("scale", 1.0 / (head as f32).sqrt());
        self.graph.node("Shape", &["input_ids"], "shape_in", &[]);
        let axis = [Attribute::Int("axis", 0)];
        self.graph.node("Concat", &["shape_in", "heads"], "shape_heads", &axis);
        self.graph.node("Concat", &["shape_in", "hidden"], "shape_out", &axis);
    }

    /// Word, segment and position, added and normalised; one row for each token.
    fn embeddings(&mut self) -> Result<String, HeaderError> {
        let hidden = self.encoder.hidden as u64;
        let table = |name: &str| format!("embeddings.{name}_embeddings.weight");
        let words = self.weight(&table("word"), &[None, Some(hidden)])?;
        let segments = self.weight(&table("token_type"), &[None, Some(hidden)])?;
        let positions = self.weight(&table("position"), &[None, Some(hidden)])?;
        let axis = [Attribute::Int("axis", 0)];
        self.graph.node("Gather", &[&words, "input_ids"], "word", &axis);
        self.graph.node("Gather", &[&segments, "token_type_ids"], "segment", &axis);
        self.graph.node("Slice", &["shape_in", "one", "two", "zero"], "length", &[]);
        self.graph.node("Slice", &[&positions, "zero", "length", "zero"], "position", &[]);
        self.graph.node("Add", &["word", "segment"], "word_segment", &[]);
        self.graph.node("Add", &["word_segment", "position"], "embedded", &[]);
        let normal = self.normal("embedded", "embeddings.LayerNorm", "embedded_normal")?;
        self.graph.node("Reshape", &[&normal, "rows"], "x", &[]);
        Ok("x".to_owned())
    }

    /// What is added to attention scores: nothing for a token, the lowest number for padding.
    fn mask(&mut self) {
        let to_float = [Attribute::Int("to", 1)];
        self.graph.node("Cast", &["attention_mask"], "mask_f", &to_float);
        self.graph.node("Unsqueeze", &["mask_f", "middle_axes"], "mask_wide", &[]);
        self.graph.node("Sub", &["one_f", "mask_wide"], "padding", &[]);
        self.graph.node("Mul", &["padding", "lowest"], "mask", &[]);
    }

    fn layer(&mut self, layer: usize, x: &str) -> Result<String, HeaderError> {
        let Encoder { hidden, intermediate, .. } = self.encoder;
        let weights = format!("encoder.layer.{layer}");
        let at = |value: &str| format!("l{layer}_{value}");

        let query =
            self.heads(&at("query"), x, &format!("{weights}.attention.self.query"), &[0, 2, 1, 3])?;
        let key =
            self.heads(&at("key"), x, &format!("{weights}.attention.self.key"), &[0, 2, 3, 1])?;
        let value =
            self.heads(&at("value"), x, &format!("{weights}.attention.self.value"), &[0, 2, 1, 3])?;
        let scores = self.op("MatMul", &[&query, &key], at("scores"));
        let scaled = self.op("Mul", &[&scores, "scale"], at("scaled"));
        let masked = self.op("Add", &[&scaled, "mask"], at("masked"));
        let last = [Attribute::Int("axis", -1)];
        self.graph.node("Softmax", &[&masked], &at("attention"), &last);
        let context = self.op("MatMul", &[&at("attention"), &value], at("context"));
        let back = [Attribute::Ints("perm", &[0, 2, 1, 3])];
        self.graph.node("Transpose", &[&context], &at("context_t"), &back);
        let joined = self.op("Reshape", &[&at("context_t"), "rows"], at("joined"));

        let output = format!("{weights}.attention.output");
        let dense =
            self.linear(&at("attended"), &joined, &format!("{output}.dense"), hidden, hidden)?;
        let sum = self.op("Add", &[&dense, x], at("residual"));
        let middle = self.normal(&sum, &format!("{output}.LayerNorm"), &at("middle"))?;

        let wide = format!("{weights}.intermediate.dense");
        let wide = self.linear(&at("wide"), &middle, &wide, hidden, intermediate)?;
        let gelu = self.gelu(&wide);
        let narrow = format!("{weights}.output.dense");
        let narrow = self.linear(&at("narrow"), &gelu, &narrow, intermediate, hidden)?;
        let sum = self.op("Add", &[&narrow, &middle], at("residual_2"));
        self.normal(&sum, &format!("{weights}.output.LayerNorm"), &at("out"))
    }

    /// A linear map whose result is split into heads and turned by `order`.
    fn heads(
        &mut self,
        name: &str,
        x: &str,
        weights: &str,
        order: &[i64],
    ) -> Result<String, HeaderError> {
        let hidden = self.encoder.hidden;
        let flat = self.linear(name, x, weights, hidden, hidden)?;
        let split = self.op("Reshape", &[&flat, "shape_heads"], format!("{name}_split"));
        let turned = format!("{name}_turned");
        self.graph.node("Transpose", &[&split], &turned, &[Attribute::Ints("perm", order)]);
        Ok(turned)
    }

    fn linear(
        &mut self,
        name: &str,
        x: &str,
        weights: &str,
        from: usize,
        to: usize,
    ) -> Result<String, HeaderError> {
        let sides = [Some(to as u64), Some(from as u64)];
        let matrix = self.weight(&format!("{weights}.weight"), &sides)?;
        let bias = self.weight(&format!("{weights}.bias"), &sides[..1])?;
        self.graph.node("Gemm", &[x, &matrix, &bias], name, &[Attribute::Int("transB", 1)]);
        Ok(name.to_owned())
    }

    fn normal(&mut self, x: &str, weights: &str, name: &str) -> Result<String, HeaderError> {
        let side = [Some(self.encoder.hidden as u64)];
        let gain = self.weight(&format!("{weights}.weight"), &side)?;
        let bias = self.weight(&format!("{weights}.bias"), &side)?;
        let attributes =
            [Attribute::Int("axis", -1), Attribute::Float("epsilon", self.encoder.epsilon)];
        self.graph.node("LayerNormalization", &[x, &gain, &bias], name, &attributes);
        Ok(name.to_owned())
    }

    /// The exact GELU in the five steps that the runtime knows how to fuse.
    fn gelu(&mut self, x: &str) -> String {
        let scaled = self.op("Div", &[x, "root_two"], format!("{x}_scaled"));
        let erf = self.op("Erf", &[&scaled], format!("{x}_erf"));
        let raised = self.op("Add", &[&erf, "one_f"], format!("{x}_raised"));
        let gated = self.op("Mul", &[x, &raised], format!("{x}_gated"));
        self.op("Mul", &[&gated, "half_f"], format!("{x}_gelu"))
    }

    fn op(&mut self, op: &str, inputs: &[&str], output: String) -> String {
        self.graph.node(op, inputs, &output, &[]);
        output
    }

    fn weight(&mut self, name: &str, shape: &[Option<u64>]) -> Result<String, HeaderError> {
        let (shape, extent) = self.header.tensor(name, shape)?;
        self.graph.external(name, &shape, self.location, extent);
        Ok(name.to_owned())
    }
}

fn signed(value: usize) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    const TINY: Encoder =
        Encoder { layers: 2, heads: 2, hidden: 4, intermediate: 8, epsilon: 1e-12 };

    /// The tensors of [`TINY`], by name, with their shapes.
    fn tensors() -> Vec<(String, Vec<u64>)> {
        let mut tensors: Vec<(String, Vec<u64>)> =
            [("word", 9), ("token_type", 2), ("position", 6)]
                .map(|(name, rows)| (format!("embeddings.{name}_embeddings.weight"), vec![rows, 4]))
                .to_vec();
        let mut pair = |name: String, shape: &[u64]| {
            tensors.push((format!("{name}.weight"), shape.to_vec()));
            tensors.push((format!("{name}.bias"), shape[..1].to_vec()));
        };
        pair("embeddings.LayerNorm".to_owned(), &[4]);
        for layer in 0..2 {
            let at = |name: &str| format!("encoder.layer.{layer}.{name}");
            for name in ["self.query", "self.key", "self.value", "output.dense"] {
                pair(at(&format!("attention.{name}")), &[4, 4]);
            }
            pair(at("attention.output.LayerNorm"), &[4]);
            pair(at("intermediate.dense"), &[8, 4]);
            pair(at("output.dense"), &[4, 8]);
            pair(at("output.LayerNorm"), &[4]);
        }
        tensors
    }

    fn made_of(tensors: &[(String, Vec<u64>)]) -> Result<Vec<u8>, HeaderError> {
        let mut end = 0;
        let entries: Vec<String> = tensors
            .iter()
            .map(|(name, shape)| {
                let begin = end;
                end += 4 * shape.iter().product::<u64>();
                format!(
                    r#""{name}":{{"dtype":"F32","shape":{shape:?},"data_offsets":[{begin},{end}]}}"#
                )
            })
            .collect();
        let json = format!("{{{}}}", entries.join(","));
        let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
        file.write_all(&(json.len() as u64).to_le_bytes()).expect("written");
        file.write_all(json.as_bytes()).expect("written");
        file.write_all(&vec![0; usize::try_from(end).expect("small")]).expect("written");
        bert(&TINY, &Header::read(file.path())?, "model.safetensors")
    }

    #[test]
    fn every_weight_is_in_the_graph_and_none_may_be_absent() {
        let all = tensors();
        assert_eq!(all.len(), 3 + 2 + 2 * 16);
        let graph = made_of(&all).expect("a whole model");
        for (name, _) in &all {
            let found = graph.windows(name.len()).any(|bytes| bytes == name.as_bytes());
            assert!(found, "{name} is not in the graph");
        }
        for gone in 0..all.len() {
            let mut rest = all.clone();
            let (name, _) = rest.remove(gone);
            let error = made_of(&rest).expect_err("a weight is absent");
            assert!(matches!(&error, HeaderError::Absent(absent) if *absent == name), "{error}");
        }
    }

    #[test]
    fn a_weight_of_another_shape_is_refused() {
        for turned in 0..tensors().len() {
            let mut all = tensors();
            all[turned].1.push(1);
            assert!(matches!(made_of(&all), Err(HeaderError::Unlike { .. })), "{}", all[turned].0);
        }
    }
}
