/**
 * Plays the Windows service host, as far as the agent can see it: run by node.exe, it serves a named pipe with recorded answers, starts
 * the agent with an open standard input, and closes that to stop it. What happens is written to a file, a line of JSON each.
 * Arguments: a JSON file with {answers, pipe, runtime, arguments, events, log, stopWhenExists}.
 */
const { spawn } = require('node:child_process');
const { appendFileSync, existsSync, openSync, readFileSync } = require('node:fs');
const { createServer } = require('node:net');

const task = JSON.parse(readFileSync(process.argv[2], 'utf8'));
const answers = JSON.parse(readFileSync(task.answers, 'utf8'));
const tell = (event) => appendFileSync(task.events, `${JSON.stringify(event)}\n`);

const server = createServer((socket) => {
  let text = '';
  tell({ connected: true });
  socket.setEncoding('latin1').on('error', () => {});
  socket.on('data', (data) => {
    text += data;
    for (let end = text.indexOf('\n'); end >= 0; end = text.indexOf('\n')) {
      const question = text.slice(0, end);
      text = text.slice(end + 1);
      tell({ asked: question });
      socket.write(`${JSON.stringify(answers[question] ?? { error: `no question ${question}` })}\n`);
    }
  });
});

server.listen(task.pipe, () => {
  const log = openSync(task.log, 'a');
  const agent = spawn(task.runtime, task.arguments, {
    stdio: ['pipe', log, log],
    env: { ...process.env, TIDEMARK_HOST_PIPE: task.pipe },
  });
  tell({ started: agent.pid });
  const timer = setInterval(() => {
    if (!existsSync(task.stopWhenExists)) return;
    clearInterval(timer);
    const toldAt = performance.now();
    tell({ told: true });
    agent.stdin.end();
    agent.once('exit', (code, signal) => {
      tell({ exited: code, signal, milliseconds: performance.now() - toldAt });
      process.exit(0);
    });
  }, 50);
});
