// The Socket.IO peer: everyone who connects is sent what comes in on the publishing port.
// usage: node server.mjs PORT PUBLISH_PORT
import { createServer } from "node:http";
import { createServer as createListener } from "node:net";
import { Server } from "socket.io";

const [port, publishPort] = process.argv.slice(2).map(Number);
const http = createServer((request, response) => {
  response.writeHead(request.url === "/ready" ? 200 : 404).end();
});
const io = new Server(http, {
  transports: ["websocket"],
  perMessageDeflate: false,
  serveClient: false,
  pingInterval: 30_000,
});
io.on("connection", (socket) => socket.join("bench"));
http.listen(port, "127.0.0.1", 4096);

// 32 bits of length, the largest byte first, then a message of JSON; and so on.
createListener((publisher) => {
  let waiting = Buffer.alloc(0);
  publisher.on("data", (data) => {
    waiting = Buffer.concat([waiting, data]);
    while (waiting.length >= 4 && waiting.length >= 4 + waiting.readUInt32BE(0)) {
      const end = 4 + waiting.readUInt32BE(0);
      io.to("bench").emit("notify", JSON.parse(waiting.subarray(4, end)));
      waiting = waiting.subarray(end);
    }
  });
  publisher.on("error", () => publisher.destroy());
}).listen(publishPort, "127.0.0.1");
