// node-zookeeper-client against an ensemble: nodes, watches, transactions, access lists, and a kill.
// Usage: main.js CONNECT-STRING DIRECTORY-OF-THE-ENSEMBLE
"use strict";

const assert = require("assert");
const fs = require("fs");
const zookeeper = require("node-zookeeper-client");

const { CreateMode, Exception, ACL, Permission, Id } = zookeeper;

function open(servers) {
  const client = zookeeper.createClient(servers, { sessionTimeout: 10000 });
  return new Promise((resolve) => {
    client.once("connected", () => resolve(client));
    client.connect();
  });
}

// Callbacks get (error, first, second).
function ask(client, method, ...parameters) {
  return new Promise((resolve, reject) => {
    client[method](...parameters, (error, ...results) => (error ? reject(error) : resolve(results)));
  });
}

async function refused(promise, code) {
  try {
    await promise;
  } catch (error) {
    assert.strictEqual(error.getCode(), code);
    return;
  }
  assert.fail("must be refused with " + code);
}

async function again(what) {
  const end = Date.now() + 20000;
  for (;;) {
    try {
      return await what();
    } catch (error) {
      if (Date.now() > end) throw error;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
}

// Sets a watch by a read; the promise of its event is wrapped, so that awaiting the read does not await it.
async function watching(client, method, path) {
  let tell;
  const event = new Promise((resolve) => (tell = resolve));
  await ask(client, method, path, (what) => tell(`${what.getName()} ${what.getPath()}`));
  return { event };
}

async function main() {
  const [servers, directory] = process.argv.slice(2);
  const [one, two] = [await open(servers), await open(servers)];

  assert.deepStrictEqual(await ask(one, "create", "/node", Buffer.from("root")), ["/node"]);
  await refused(ask(one, "create", "/node"), Exception.NODE_EXISTS);
  await refused(ask(one, "getData", "/none"), Exception.NO_NODE);
  const [name] = await ask(one, "create", "/node/s-", CreateMode.PERSISTENT_SEQUENTIAL);
  assert.strictEqual(name, "/node/s-0000000000");
  const [stat] = await ask(one, "setData", "/node", Buffer.from("new"), 0);
  assert.strictEqual(stat.version, 1);
  await refused(ask(one, "setData", "/node", Buffer.from("old"), 0), Exception.BAD_VERSION);
  await refused(ask(one, "remove", "/node", -1), Exception.NOT_EMPTY);
  // The other client's server may be behind for a moment, as ZooKeeper's may; this client has no sync.
  await again(async () => {
    const [data] = await ask(two, "getData", "/node");
    assert.strictEqual(data.toString(), "new");
  });
  await ask(one, "mkdirp", "/node/a/b/c");

  const created = await watching(two, "exists", "/node/watched");
  const children = await watching(two, "getChildren", "/node");
  await ask(one, "create", "/node/watched", CreateMode.EPHEMERAL);
  assert.strictEqual(await created.event, "NODE_CREATED /node/watched");
  assert.strictEqual(await children.event, "NODE_CHILDREN_CHANGED /node");

  const results = await ask(
    one
      .transaction()
      .create("/node/t")
      .create("/node/t/in")
      .setData("/node/t", Buffer.from("1"), 0)
      .check("/node/t", 1)
      .remove("/node/t/in"),
    "commit",
  );
  assert.strictEqual(results[0].length, 5);
  await assert.rejects(ask(one.transaction().remove("/node/t").check("/node", 9), "commit"));
  assert.ok((await ask(one, "exists", "/node/t"))[0]);

  one.addAuthInfo("digest", Buffer.from("user:secret"));
  await ask(one, "create", "/node/mine", null, [new ACL(Permission.ALL, new Id("auth", ""))], CreateMode.PERSISTENT);
  await again(() => refused(ask(two, "getData", "/node/mine"), Exception.NO_AUTH));
  const [acls] = await ask(one, "getACL", "/node/mine");
  assert.strictEqual(acls[0].id.scheme, "digest");

  const session = one.getSessionId().toString("hex");
  process.kill(Number(fs.readFileSync(`${directory}/coordinator-1.pid`, "utf8")), "SIGKILL");
  for (let round = 0; round < 20; round++) {
    await again(() => ask(one, "setData", "/node", Buffer.from(String(round)), -1));
  }
  assert.strictEqual(one.getSessionId().toString("hex"), session);
  assert.ok((await again(() => ask(two, "exists", "/node/watched")))[0], "the ephemeral node lives");
  one.close();
  two.close();
  console.log("node-zookeeper-client: all held");
}

main().then(
  () => process.exit(0),
  (error) => {
    console.error(error);
    process.exit(1);
  },
);
