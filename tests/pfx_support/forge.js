// Opens and writes PFX files with node-forge. The password comes in PFX_PASSWORD; what was found goes out in lines of hex.
//
// forge.js read FILE
// forge.js write FILE SETTING KEY.pem CERTIFICATE...pem    (the leaf first)
"use strict";
const fs = require("fs");
const forge = require("node-forge");
const oids = forge.pki.oids;
const password = process.env.PFX_PASSWORD;
const [, , operation, path, ...rest] = process.argv;

const hex = (asn1) => forge.util.bytesToHex(forge.asn1.toDer(asn1).getBytes());

function read() {
    const file = forge.util.createBuffer(fs.readFileSync(path).toString("binary"));
    const pfx = forge.pkcs12.pkcs12FromAsn1(forge.asn1.fromDer(file), password);
    const bags = (type) => pfx.getBags({ bagType: type })[type];
    for (const bag of bags(oids.pkcs8ShroudedKeyBag)) {
        if (bag.key === null) throw new Error("the key is of a kind that forge does not know");
        console.log("key", hex(forge.pki.wrapRsaPrivateKey(forge.pki.privateKeyToAsn1(bag.key))));
    }
    for (const bag of bags(oids.certBag)) {
        if (bag.cert === null) throw new Error("the certificate is of a kind that forge does not know");
        console.log("certificate", hex(forge.pki.certificateToAsn1(bag.cert)));
    }
}

function write() {
    const [setting, ...pems] = rest;
    const [key, ...chain] = pems.map((name) => fs.readFileSync(name, "utf8"));
    const options = { generateLocalKeyId: true, friendlyName: "forge", ...(setting === "default" ? {} : { algorithm: setting }) };
    const pfx = forge.pkcs12.toPkcs12Asn1(forge.pki.privateKeyFromPem(key), chain, password, options);
    fs.writeFileSync(path, Buffer.from(forge.asn1.toDer(pfx).getBytes(), "binary"));
}

if (operation === "read") read();
else if (operation === "write") write();
else throw new Error("read or write");
