//! Writes ONNX models. The format is protocol buffers, of which a model needs so little that a
//! writer of its own is shorter than the glue around a library.

use super::safetensors::Extent;

/// Element types, as ONNX numbers them.
const FLOAT: i64 = 1;
const INT64: i64 = 7;

/// A protocol buffer message under construction.
#[derive(Debug, Default, Clone)]
struct Message(Vec<u8>);

impl Message {
    #[expect(clippy::cast_possible_truncation, reason = "the value is cut to seven bits first")]
    fn varint(&mut self, mut value: u64) {
        while value > 0x7f {
            self.0.push((value & 0x7f) as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    fn key(&mut self, field: u32, wire: u32) {
        self.varint(u64::from(field << 3 | wire));
    }

    fn int(mut self, field: u32, value: i64) -> Self {
        self.key(field, 0);
        self.varint(value.cast_unsigned());
        self
    }

    fn float(mut self, field: u32, value: f32) -> Self {
        self.key(field, 5);
        self.0.extend(value.to_le_bytes());
        self
    }

    fn bytes(mut self, field: u32, value: &[u8]) -> Self {
        self.key(field, 2);
        self.varint(value.len() as u64);
        self.0.extend(value);
        self
    }

    fn text(self, field: u32, value: &str) -> Self {
        self.bytes(field, value.as_bytes())
    }

    fn message(self, field: u32, value: &Message) -> Self {
        self.bytes(field, &value.0)
    }
}

/// An attribute of a node.
#[derive(Debug, Clone, Copy)]
pub enum Attribute<'a> {
    /// One integer.
    Int(&'a str, i64),
    /// One float.
    Float(&'a str, f32),
    /// A list of integers.
    Ints(&'a str, &'a [i64]),
}

impl Attribute<'_> {
    fn encode(self) -> Message {
        let empty = Message::default();
        match self {
            Self::Int(name, value) => empty.text(1, name).int(3, value).int(20, 2),
            Self::Float(name, value) => empty.text(1, name).float(2, value).int(20, 1),
            Self::Ints(name, values) => {
                let named = empty.text(1, name);
                values.iter().fold(named, |message, value| message.int(8, *value)).int(20, 7)
            }
        }
    }
}

/// A side of a tensor: a fixed length or a name for one that varies.
#[derive(Debug, Clone, Copy)]
pub enum Side<'a> {
    /// Always this long.
    Fixed(i64),
    /// As long as the input makes it.
    Named(&'a str),
}

/// A graph under construction. Values are known by name.
#[derive(Debug, Default)]
pub struct Graph {
    nodes: Vec<Message>,
    initializers: Vec<Message>,
    inputs: Vec<Message>,
    outputs: Vec<Message>,
}

impl Graph {
    /// Adds a node that computes `output` from `inputs`.
    pub fn node(&mut self, op: &str, inputs: &[&str], output: &str, attributes: &[Attribute<'_>]) {
        let mut node = Message::default();
        for input in inputs {
            node = node.text(1, input);
        }
        node = node.text(2, output).text(3, output).text(4, op);
        for attribute in attributes {
            node = node.message(5, &attribute.encode());
        }
        self.nodes.push(node);
    }

    /// Adds a constant list of integers.
    pub fn ints(&mut self, name: &str, values: &[i64]) {
        let raw: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        let side = i64::try_from(values.len()).unwrap_or(i64::MAX);
        let tensor = Message::default().int(1, side).int(2, INT64).text(8, name).bytes(9, &raw);
        self.initializers.push(tensor);
    }

    /// Adds a constant number.
    pub fn float(&mut self, name: &str, value: f32) {
        let tensor = Message::default().int(2, FLOAT).text(8, name).bytes(9, &value.to_le_bytes());
        self.initializers.push(tensor);
    }

    /// Adds a constant f32 tensor whose bytes lie in the file called `location`.
    pub fn external(&mut self, name: &str, shape: &[u64], location: &str, extent: Extent) {
        let mut tensor = Message::default();
        for side in shape {
            tensor = tensor.int(1, side.cast_signed());
        }
        tensor = tensor.int(2, FLOAT).text(8, name);
        let offset = extent.offset.to_string();
        let length = extent.length.to_string();
        for (key, value) in [("location", location), ("offset", &offset), ("length", &length)] {
            tensor = tensor.message(13, &Message::default().text(1, key).text(2, value));
        }
        // 1 means that the bytes lie elsewhere.
        self.initializers.push(tensor.int(14, 1));
    }

    /// Declares an input of integers.
    pub fn input(&mut self, name: &str, sides: &[Side<'_>]) {
        self.inputs.push(value_info(name, INT64, sides));
    }

    /// Declares an output of floats.
    pub fn output(&mut self, name: &str, sides: &[Side<'_>]) {
        self.outputs.push(value_info(name, FLOAT, sides));
    }

    /// The finished model: IR version 8, operator set 17.
    pub fn into_model(self, name: &str) -> Vec<u8> {
        let mut graph = Message::default();
        for node in &self.nodes {
            graph = graph.message(1, node);
        }
        graph = graph.text(2, name);
        let lists = [(5, &self.initializers), (11, &self.inputs), (12, &self.outputs)];
        for (field, list) in lists {
            for message in list {
                graph = graph.message(field, message);
            }
        }
        let operators = Message::default().text(1, "").int(2, 17);
        Message::default()
            .int(1, 8)
            .text(2, env!("CARGO_PKG_NAME"))
            .message(7, &graph)
            .message(8, &operators)
            .0
    }
}

fn value_info(name: &str, element: i64, sides: &[Side<'_>]) -> Message {
    let shape = sides.iter().fold(Message::default(), |shape, side| {
        let side = match side {
            Side::Fixed(length) => Message::default().int(1, *length),
            Side::Named(name) => Message::default().text(2, name),
        };
        shape.message(1, &side)
    });
    let tensor = Message::default().int(1, element).message(2, &shape);
    Message::default().text(1, name).message(2, &Message::default().message(1, &tensor))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_the_wire_format_has_them() {
        assert_eq!(Message::default().int(1, 300).0, [0x08, 0xac, 0x02]);
        assert_eq!(Message::default().int(1, 0).0, [0x08, 0x00]);
        assert_eq!(Message::default().int(20, 127).0, [0xa0, 0x01, 0x7f]);
        let minus_one = Message::default().int(1, -1).0;
        assert_eq!(minus_one.len(), 11);
        assert_eq!(minus_one.last(), Some(&0x01));
        assert_eq!(Message::default().text(2, "ab").0, [0x12, 2, b'a', b'b']);
        assert_eq!(Message::default().float(2, 1.0).0, [0x15, 0, 0, 0x80, 0x3f]);
    }
}
