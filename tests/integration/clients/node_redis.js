// The ordinary use of node-redis, against the server on the port in the first argument, with the version of the
// protocol in the second.
const assert = require("assert");
const { createClient, RESP_TYPES, WatchError } = require("redis");

const [port, RESP] = process.argv.slice(1).map(Number);
const BYTES = { [RESP_TYPES.BLOB_STRING]: Buffer };
let redis, commands;

async function connect(more = {}) {
    const client = createClient({ socket: { host: "127.0.0.1", port }, RESP, ...more });
    client.on("error", (error) => console.log(String(error)));
    return client.connect();
}

function exists(name) {
    if (!commands.has(name)) console.log("absent:", name);
    return commands.has(name);
}

async function until(what, check) {
    const deadline = Date.now() + 10000;
    while (!(await check())) {
        assert(Date.now() < deadline, what);
        await new Promise((resolve) => setTimeout(resolve, 10));
    }
}

const uses = {
    async strings() {
        assert.strictEqual(await redis.set("a", "1", { expiration: { type: "EX", value: 100 }, condition: "NX" }), "OK");
        assert.strictEqual(await redis.set("a", "1", { condition: "NX" }), null);
        assert.strictEqual(await redis.incrBy("a", 5), 6);
        assert.strictEqual(await redis.incrByFloat("a", 0.5), "6.5");
        await redis.mSet({ b: "x", c: "y" });
        assert.deepStrictEqual(await redis.mGet(["b", "c", "d"]), ["x", "y", null]);
        await assert.rejects(redis.incr("b"), /ERR value is not an integer or out of range/);
        await assert.rejects(redis.sendCommand(["NOSUCH"]), /ERR unknown command 'NOSUCH'/);
    },

    async binary() {
        const key = Buffer.from(Array.from({ length: 256 }, (_, n) => n));
        const value = Buffer.alloc(10 << 20, key);
        await redis.set(key, value);
        const bytes = redis.withTypeMapping(BYTES);
        assert(value.equals(await bytes.get(key)));
        assert(key.equals((await bytes.keys("*")).find((found) => found.length === 256)));
        assert.strictEqual(await redis.del(key), 1);
    },

    async pipelines() {
        // What is asked in one turn goes out together.
        const counts = await Promise.all(Array.from({ length: 2000 }, () => redis.incr("auto")));
        assert.deepStrictEqual(counts, Array.from({ length: 2000 }, (_, n) => n + 1));
        assert.deepStrictEqual(await redis.multi().set("p", 1).incr("p").execAsPipeline(), ["OK", 2]);
    },

    async transactions() {
        assert.deepStrictEqual(await redis.multi().set("m", 1).incr("m").exec(), ["OK", 2]);
        await assert.rejects(redis.multi().set("m", 1).incr("b").exec());
        const other = await connect();
        await other.watch("m");
        await redis.set("m", 3);
        await assert.rejects(other.multi().set("m", "lost").exec(), WatchError);
        await other.watch("m");
        assert.deepStrictEqual(await other.multi().get("m").exec(), ["3"]);
        await other.close();
    },

    async publishing() {
        const listener = await connect();
        const seen = [];
        await listener.subscribe("news", (text, channel) => seen.push([channel, text]));
        await listener.pSubscribe("log.*", (bytes, channel) => seen.push([String(channel), bytes]), true);
        assert.strictEqual(await redis.publish("news", "one"), 1);
        assert.strictEqual(await redis.publish("log.x", Buffer.from([0, 255])), 1);
        await until("messages", () => seen.length === 2);
        assert.deepStrictEqual(seen, [["news", "one"], ["log.x", Buffer.from([0, 255])]]);
        assert.deepStrictEqual(await redis.pubSubChannels(), ["news"]);
        // A listener that was cut off subscribes again.
        await redis.sendCommand(["CLIENT", "KILL", "TYPE", "pubsub"]);
        await until("listens again", async () => (await redis.publish("log.y", "two")) === 1);
        await until("the message", () => seen.length === 3);
        await listener.unsubscribe();
        await listener.pUnsubscribe();
        assert.strictEqual(String(await listener.get("m")), "3");
        await listener.close();
    },

    async scans() {
        await redis.flushDb();
        await Promise.all(Array.from({ length: 500 }, (_, n) => redis.set(`scan:${n}`, n)));
        const found = new Set();
        for await (const keys of redis.scanIterator({ MATCH: "scan:*", COUNT: 40 })) keys.forEach((key) => found.add(key));
        assert.strictEqual(found.size, 500);
        if (exists("hscan")) {
            await redis.hSet("h", Object.fromEntries(Array.from({ length: 600 }, (_, n) => [`f${n}`, n])));
            let fields = 0;
            for await (const entries of redis.hScanIterator("h")) fields += entries.length;
            assert.strictEqual(fields, 600);
        }
    },

    async collections() {
        await redis.flushDb();
        if (exists("rpush")) {
            assert.strictEqual(await redis.rPush("l", ["a", "b"]), 2);
            assert.deepStrictEqual(await redis.lRange("l", 0, -1), ["a", "b"]);
        }
        if (exists("sadd")) {
            assert.strictEqual(await redis.sAdd("s", ["a", "b", "a"]), 2);
            assert.deepStrictEqual([...await redis.sMembers("s")].sort(), ["a", "b"]);
        }
        if (exists("hset")) {
            await redis.hSet("h", { a: 1, b: "x" });
            assert.deepStrictEqual({ ...await redis.hGetAll("h") }, { a: "1", b: "x" });
        }
        if (exists("zadd")) {
            await redis.zAdd("z", [{ score: 1, value: "a" }, { score: 2.5, value: "b" }]);
            assert.deepStrictEqual(await redis.zRangeWithScores("z", 0, -1), [{ value: "a", score: 1 }, { value: "b", score: 2.5 }]);
            assert.strictEqual(await redis.zScore("z", "b"), 2.5);
        }
    },

    async blockingPops() {
        if (!exists("blpop")) return;
        const worker = await connect();
        assert.strictEqual(await worker.blPop("queue", 0.1), null);
        const job = worker.blPop(["none", "queue"], 10);
        await until("a client waits", async () => /blocked_clients:1/.test(await redis.info("clients")));
        await redis.rPush("queue", "job");
        assert.deepStrictEqual({ ...await job }, { key: "queue", element: "job" });
        await worker.close();
    },

    async caching() {
        if (RESP !== 3) return;
        const cached = await connect({ clientSideCache: { ttl: 0, maxEntries: 100, evictPolicy: "LRU" } });
        await redis.set("cached", "1");
        assert.strictEqual(await cached.get("cached"), "1");
        assert.strictEqual(await cached.get("cached"), "1");
        await redis.set("cached", "2");
        await until("invalidated", async () => (await cached.get("cached")) === "2");
        await redis.flushAll();
        await until("all invalidated", async () => (await cached.get("cached")) === null);
        await cached.close();
    },

    async reconnects() {
        const other = await connect();
        const before = await other.clientId();
        const again = new Promise((resolve) => other.once("ready", resolve));
        assert.strictEqual(await redis.clientKill({ filter: "ID", id: before }), 1);
        await again;
        assert.strictEqual(await other.set("after", "kill"), "OK");
        assert.notStrictEqual(await other.clientId(), before);
        await other.close();
    },

    async operator() {
        assert.match(await redis.info(), /redis_version:7\.0\./);
        await redis.configSet("maxmemory-policy", "noeviction");
        assert.deepStrictEqual({ ...await redis.configGet("maxmemory-policy") }, { "maxmemory-policy": "noeviction" });
        await redis.clientSetName("worker");
        assert((await redis.clientList()).some((client) => client.name === "worker"));
        assert((await redis.memoryUsage("after")) > 0);
        if (exists("object")) assert.strictEqual(await redis.objectEncoding("after"), "embstr");
        const listener = await connect();
        const seen = [];
        await listener.monitor((line) => seen.push(String(line)));
        await redis.set("watched", "1");
        await until("monitored", () => seen.some((line) => line.endsWith('"SET" "watched" "1"')));
        listener.destroy();
        await redis.close();
    },
};

async function main() {
    redis = await connect();
    await redis.flushAll();
    commands = new Set(await redis.commandList());
    for (const [name, use] of Object.entries(uses)) {
        console.log(name);
        await use();
    }
    console.log("all went well");
}

main().catch((error) => {
    console.log(error);
    process.exit(1);
});
