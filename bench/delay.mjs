// `node delay.mjs PORT MILLISECONDS`: a way to a port of this machine on which each direction takes so long. A process
// of its own, so that it shares no event loop with what is measured. Prints its own port; for each line that it reads,
// the round trips of each connection since the last: bytes to the host that bytes from it answered, and TCP's own.

import { createServer, Socket } from 'node:net';
import { createInterface } from 'node:readline';

const [port, delay] = process.argv.slice(2).map(Number);
let connections = [];

/** What one direction carries, in order, each `delay` after it came. */
function direction() {
  const due = [];
  return (work) => {
    if (delay === 0) return work();
    due.push(work);
    setTimeout(() => due.shift()(), delay);
  };
}

function pass(from, to, later, seen) {
  from.setNoDelay(true);
  from.on('error', () => {});
  from.on('data', (data) => {
    seen();
    later(() => to.write(data));
  });
  from.on('end', () => later(() => to.end()));
  from.on('close', () => later(() => to.destroy()));
}

const server = createServer((client) => {
  const connection = { trips: 1, asked: false };
  connections.push(connection);
  // loopback has answered the SYN at once: the client's first bytes leave a round trip later
  setTimeout(() => {
    const [there, back] = [direction(), direction()];
    const host = new Socket();
    there(() => host.connect(port, '127.0.0.1'));
    pass(client, host, there, () => {
      connection.asked = true;
    });
    pass(host, client, back, () => {
      if (connection.asked) connection.trips++;
      connection.asked = false;
    });
  }, 2 * delay);
});
server.listen(0, '127.0.0.1', () => console.log(server.address().port));
createInterface({ input: process.stdin })
  .on('line', () => {
    console.log(connections.map(({ trips }) => trips).join(' '));
    connections = [];
  })
  .on('close', () => process.exit());
