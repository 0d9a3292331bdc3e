// The ordinary use of ioredis, against the server on the port in the first argument.
const assert = require("assert");
const { Redis } = require("ioredis");

const port = Number(process.argv[1]);
const options = { port, host: "127.0.0.1" };
const redis = new Redis(options);
let commands;

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
        assert.strictEqual(await redis.set("a", "1", "EX", 100, "NX"), "OK");
        assert.strictEqual(await redis.set("a", "1", "NX"), null);
        assert.strictEqual(await redis.incrby("a", 5), 6);
        assert.strictEqual(await redis.incrbyfloat("a", 0.5), "6.5");
        await redis.mset({ b: "x", c: "y" });
        assert.deepStrictEqual(await redis.mget("b", "c", "d"), ["x", "y", null]);
        await assert.rejects(redis.incr("b"), /ERR value is not an integer or out of range/);
        await assert.rejects(redis.call("NOSUCH"), /ERR unknown command 'NOSUCH'/);
    },

    async binary() {
        const key = Buffer.from(Array.from({ length: 256 }, (_, n) => n));
        const value = Buffer.alloc(10 << 20, key);
        await redis.set(key, value);
        assert(value.equals(await redis.getBuffer(key)));
        assert(key.equals((await redis.keysBuffer("*")).find((found) => found.length === 256)));
        assert.strictEqual(await redis.del(key), 1);
    },

    async pipelines() {
        const pipeline = redis.pipeline();
        for (let n = 0; n < 2000; n++) pipeline.set(`p${n}`, n);
        const replies = await pipeline.get("p1999").incr("b").exec();
        assert.strictEqual(replies.length, 2002);
        assert.deepStrictEqual(replies[2000], [null, "1999"]);
        assert.match(String(replies[2001][0]), /not an integer/);
        const automatic = new Redis({ ...options, enableAutoPipelining: true });
        const counts = await Promise.all(Array.from({ length: 500 }, () => automatic.incr("auto")));
        assert.deepStrictEqual(counts, Array.from({ length: 500 }, (_, n) => n + 1));
        automatic.disconnect();
    },

    async transactions() {
        const replies = await redis.multi().set("m", 1).incr("m").incr("b").exec();
        assert.deepStrictEqual(replies.slice(0, 2), [[null, "OK"], [null, 2]]);
        assert.match(String(replies[2][0]), /not an integer/);
        const other = redis.duplicate();
        await other.watch("m");
        await redis.incr("m");
        assert.strictEqual(await other.multi().set("m", "lost").exec(), null);
        await other.watch("m");
        assert.deepStrictEqual(await other.multi().get("m").exec(), [[null, "3"]]);
        await assert.rejects(other.multi().set("m").exec(), /EXECABORT/);
        other.disconnect();
    },

    async publishing() {
        const listener = redis.duplicate();
        const seen = [];
        listener.on("message", (channel, text) => seen.push([channel, text]));
        listener.on("pmessageBuffer", (pattern, channel, text) => seen.push([String(pattern), String(channel), text]));
        assert.strictEqual(await listener.subscribe("news", "more"), 2);
        assert.strictEqual(await listener.psubscribe("log.*"), 3);
        assert.strictEqual(await redis.publish("news", "one"), 1);
        assert.strictEqual(await redis.publish("log.x", Buffer.from([0, 255])), 1);
        await until("messages", () => seen.length === 2);
        assert.deepStrictEqual(seen, [["news", "one"], ["log.*", "log.x", Buffer.from([0, 255])]]);
        assert.deepStrictEqual((await redis.pubsub("CHANNELS")).sort(), ["more", "news"]);
        // A listener that was cut off subscribes again.
        await redis.call("CLIENT", "KILL", "TYPE", "pubsub");
        await until("listens again", async () => (await redis.publish("log.y", "two")) === 1);
        await until("the message", () => seen.length === 3);
        assert.strictEqual(await listener.unsubscribe("news", "more"), 1);
        assert.strictEqual(await listener.punsubscribe("log.*"), 0);
        assert.strictEqual(await listener.get("m"), "3");
        listener.disconnect();
    },

    async scans() {
        await redis.flushdb();
        const pipeline = redis.pipeline();
        for (let n = 0; n < 500; n++) pipeline.set(`scan:${n}`, n);
        await pipeline.exec();
        const found = new Set();
        for await (const keys of redis.scanStream({ match: "scan:*", count: 40 })) keys.forEach((key) => found.add(key));
        assert.strictEqual(found.size, 500);
        if (exists("hscan")) {
            await redis.hset("h", Object.fromEntries(Array.from({ length: 600 }, (_, n) => [`f${n}`, n])));
            let fields = 0;
            for await (const part of redis.hscanStream("h")) fields += part.length / 2;
            assert.strictEqual(fields, 600);
        }
    },

    async collections() {
        await redis.flushdb();
        if (exists("rpush")) {
            assert.strictEqual(await redis.rpush("l", "a", "b"), 2);
            assert.deepStrictEqual(await redis.lrange("l", 0, -1), ["a", "b"]);
        }
        if (exists("sadd")) {
            assert.strictEqual(await redis.sadd("s", "a", "b", "a"), 2);
            assert.strictEqual(await redis.scard("s"), 2);
        }
        if (exists("hset")) {
            await redis.hset("h", { a: 1, b: "x" });
            assert.deepStrictEqual(await redis.hgetall("h"), { a: "1", b: "x" });
        }
        if (exists("zadd")) {
            assert.strictEqual(await redis.zadd("z", 1, "a", 2.5, "b"), 2);
            assert.deepStrictEqual(await redis.zrange("z", 0, -1, "WITHSCORES"), ["a", "1", "b", "2.5"]);
        }
    },

    async blockingPops() {
        if (!exists("blpop")) return;
        const worker = redis.duplicate();
        assert.strictEqual(await worker.blpop("queue", 0.1), null);
        const job = worker.blpop("none", "queue", 10);
        await until("a client waits", async () => /blocked_clients:1/.test(await redis.info("clients")));
        await redis.rpush("queue", "job");
        assert.deepStrictEqual(await job, ["queue", "job"]);
        worker.disconnect();
    },

    async reconnects() {
        const other = redis.duplicate();
        const before = await other.client("ID");
        assert.strictEqual(await redis.client("KILL", "ID", before), 1);
        assert.strictEqual(await other.set("after", "kill"), "OK");
        assert.notStrictEqual(await other.client("ID"), before);
        other.disconnect();
    },

    async operator() {
        assert.match(await redis.info(), /redis_version:7\.0\./);
        assert.strictEqual(await redis.config("SET", "maxmemory-policy", "noeviction"), "OK");
        assert.deepStrictEqual(await redis.config("GET", "maxmemory-policy"), ["maxmemory-policy", "noeviction"]);
        assert.match(await redis.client("LIST"), /cmd=client\|list/);
        const monitor = await redis.duplicate().monitor();
        const seen = [];
        monitor.on("monitor", (time, words) => seen.push(words));
        await redis.set("watched", "1");
        await until("monitored", () => seen.some((words) => words.join(" ") === "set watched 1"));
        monitor.disconnect();
        assert.strictEqual(await redis.quit(), "OK");
    },
};

async function main() {
    await redis.flushall();
    commands = new Set(await redis.command("LIST"));
    for (const [name, use] of Object.entries(uses)) {
        console.log(name);
        await use();
    }
    console.log("all went well");
    process.exit(0);
}

main().catch((error) => {
    console.log(error);
    process.exit(1);
});
