// Computes, prints a number about every 20 ms, ends by a line
const { writeSync } = require('fs');
let n = 0, keep = [];
// stdout is a pipe that may be full for a moment, and non-blocking
function put(line) {
	for (;;) {
		try { writeSync(1, line + '\n'); return; } catch (e) { if (e.code !== 'EAGAIN') throw e; }
	}
}
setInterval(() => {
	keep.push(Buffer.alloc(10000, n & 255).toString('hex'));
	if (keep.length > 50) keep = keep.slice(25);
	put(++n);
}, 20);
process.stdin.on('data', () => { put('ok'); process.exit(0); });
