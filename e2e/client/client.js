// A user's own client: everything it knows of Midspan is here.
const ws = new WebSocket('ws://localhost:18080/activity/stream');

ws.onmessage = (message) => {
  const data = JSON.parse(message.data);
  switch (data.event) {
    case 'started':
      console.log(`started | ${data.activity.name} | ${data.activity.what_its_doing}`);
      break;
    case 'completed':
      console.log(`completed | ${data.activity.name} | ${data.activity.what_it_did}`);
      break;
    default:
      console.log(`${data.event} | ${data.activity.name} | ${data.activity.what_its_doing}`);
  }
};

ws.onerror = () => console.log('error');
ws.onclose = (close) => console.log(`closed | ${close.code} | ${close.reason}`);
