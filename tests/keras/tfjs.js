// Runs a model of TensorFlow.js from files: node tfjs.js TF.MIN.JS MODEL.JSON INPUT.NPY OUTPUT.NPY   (f32, one input, one output)
"use strict";
const fs = require("fs"), path = require("path");

const [library, file, input, output] = process.argv.slice(2);
console.warn = () => {}; // it recommends a native addon
const tf = require(library);

function readNpy(name) {
  const bytes = fs.readFileSync(name), start = 10 + bytes.readUInt16LE(8), header = bytes.toString("latin1", 10, start);
  const shape = /'shape': \(([^)]*)\)/.exec(header)[1].split(",").filter((size) => size.trim()).map(Number);
  return tf.tensor(new Float32Array(new Uint8Array(bytes.subarray(start)).buffer), shape);
}

function writeNpy(name, shape, values) {
  const text = `{'descr': '<f4', 'fortran_order': False, 'shape': (${shape.join(", ")},), }`;
  const header = text.padEnd(Math.ceil((text.length + 11) / 64) * 64 - 11) + "\n";
  const magic = Buffer.from([0x93, ...Buffer.from("NUMPY"), 1, 0, header.length & 255, header.length >> 8]);
  fs.writeFileSync(name, Buffer.concat([magic, Buffer.from(header), new Uint8Array(values.buffer)]));
}

function readModel() {
  const json = JSON.parse(fs.readFileSync(file)), groups = json.weightsManifest;
  const shards = groups.flatMap((group) => group.paths.map((name) => fs.readFileSync(path.join(path.dirname(file), name))));
  return {
    modelTopology: json.modelTopology,
    weightSpecs: groups.flatMap((group) => group.weights),
    weightData: new Uint8Array(Buffer.concat(shards)).buffer,
  };
}

async function main() {
  await tf.setBackend("cpu");
  const model = await tf.loadLayersModel({load: async () => readModel()});
  const y = model.predict(readNpy(input));
  writeNpy(output, y.shape, await y.data());
}

main().catch((error) => {
  console.error(error.message);
  process.exit(1);
});
