/*
** chan_test: one channel and what waits on it.
*/
#include <string.h>

#include "wait.h"

static void a_ring_keeps_order(void) {
  uint64_t rnd = 1;
  for (uint32_t cap = 1; cap <= 300; cap = cap * 2 + 1) {
    rl_chan *c = rl_chan_make(cap, NULL);
    int64_t in = 0, out = 0, got;
    bool right = true;
    for (int i = 0; i < 5000; i++) {
      if (pick(&rnd, 100) < (i / 500 % 2 ? 40u : 60u)) {
        rl_status st = put_number(c, in);
        right &= st == (in - out < cap ? RL_OK : RL_NOT_READY);
        in += st == RL_OK;
      } else {
        rl_status st = take_number(c, &got);
        right &= st == (in > out ? RL_OK : RL_NOT_READY) && (st != RL_OK || got == out);
        out += st == RL_OK;
      }
      right &= rl_chan_count(c) == in - out;
    }
    CHECK(right, "a ring that grows and wraps keeps its order and capacity");
    drop_chan(c);
  }
}

static void statuses(void) {
  rl_chan *c = rl_chan_make(0, "name");
  int64_t got;
  CHECK(put_number(c, 1) == RL_NOT_READY, "a rendezvous with nobody is not ready to send");
  CHECK(take_number(c, &got) == RL_NOT_READY, "nor to receive");
  CHECK(rl_chan_close(c) == RL_OK, "closing");
  CHECK(rl_chan_close(c) == RL_CLOSED, "closing twice is told");
  CHECK(put_number(c, 1) == RL_CLOSED, "sending on a closed channel is told");
  CHECK(take_number(c, &got) == RL_CLOSED, "receiving on a closed channel is told");
  drop_chan(c);
  c = rl_chan_make(2, NULL);
  put_number(c, 1);
  put_number(c, 2);
  rl_chan_close(c);
  CHECK(take_number(c, &got) == RL_OK && got == 1, "a closed channel is drained");
  CHECK(take_number(c, &got) == RL_OK && got == 2, "in order");
  CHECK(take_number(c, &got) == RL_CLOSED, "before it tells that it is closed");
  c->never = true;
  CHECK(take_number(c, &got) == RL_NOT_READY, "a channel that is never ready");
  drop_chan(c);
}

static rl_msg blob_of(const char *text) {
  return (rl_msg){.u = {.blob = rl_blob_make(text, strlen(text), NULL, 0)}, .tag = RL_MSG_BLOB};
}

static void a_value_is_replaced_in_its_place(void) {
  rl_chan *c = rl_chan_make(1, NULL);
  rl_msg seen = {.tag = RL_MSG_NONE}, m = blob_of("one"), other = blob_of("another");
  rl_wakes ws = {NULL, NULL};
  uint32_t version;
  CHECK(!rl_chan_peek(c, &seen, &version), "there is nothing to see in an empty channel");
  CHECK(!rl_chan_replace(c, version, &m), "nor to replace");
  rl_lock_take(&c->src.lock);
  rl_chan_put(c, &m, &ws);
  rl_lock_leave(&c->src.lock);
  CHECK(rl_chan_peek(c, &seen, &version) && rl_chan_count(c) == 1, "what is seen stays");
  CHECK(rl_chan_replace(c, version, &other) && other.u.blob == seen.u.blob,
        "what was replaced comes out");
  CHECK(!rl_chan_replace(c, version, &other), "a version is replaced once");
  rl_msg_drop(&seen);
  rl_msg_drop(&other);
  CHECK(rl_msg_bytes() == strlen("another"), "and released when nobody has it any more");
  drop_chan(c);
  CHECK(rl_msg_bytes() == 0, "as is what is left");
}

enum { WAITERS = 10 };

static void receivers_are_served_in_order(void) {
  rl_chan *c = rl_chan_make(0, NULL);
  rl_waiter w[WAITERS];
  rl_case k[WAITERS];
  unsigned won;
  for (int i = 0; i < WAITERS; i++) {
    rl_waiter_open(&w[i]);
    k[i] = recv_case(c);
    CHECK(publish(&w[i], &k[i], 1, RL_RANDOM, &won) == RL_PARK, "a receiver waits");
  }
  for (int i = 0; i < WAITERS; i++) CHECK(put_number(c, i) == RL_OK, "a waiting receiver takes it");
  for (int i = 0; i < WAITERS; i++)
    CHECK(conclude(&w[i], &k[i], 1, &won) == RL_OK && won == 0 && k[i].msg.u.i == i,
          "the first to wait is served first");
  CHECK(put_number(c, 0) == RL_NOT_READY, "nobody is left");
  drop_chan(c);
}

static void senders_are_served_in_order(uint32_t cap) {
  rl_chan *c = rl_chan_make(cap, NULL);
  rl_waiter w[WAITERS];
  rl_case k[WAITERS];
  unsigned won;
  int64_t got;
  for (unsigned i = 0; i < cap; i++) put_number(c, i);
  for (unsigned i = 0; i < WAITERS; i++) {
    rl_waiter_open(&w[i]);
    k[i] = send_case(c, cap + i);
    CHECK(publish(&w[i], &k[i], 1, RL_RANDOM, &won) == RL_PARK, "a sender waits");
  }
  for (unsigned i = 0; i < cap + WAITERS; i++)
    CHECK(take_number(c, &got) == RL_OK && got == i,
          "buffered values, then waiting ones, in order");
  for (unsigned i = 0; i < WAITERS; i++)
    CHECK(conclude(&w[i], &k[i], 1, &won) == RL_OK && k[i].msg.tag == RL_MSG_NONE,
          "a sent value has left its sender");
  CHECK(take_number(c, &got) == RL_NOT_READY, "nothing is left");
  drop_chan(c);
}

static void close_wakes_every_waiter(void) {
  rl_chan *r = rl_chan_make(0, NULL), *s = rl_chan_make(1, NULL);
  rl_waiter w[WAITERS];
  rl_case k[WAITERS];
  unsigned won;
  put_number(s, 0);
  for (int i = 0; i < WAITERS; i++) {
    rl_waiter_open(&w[i]);
    k[i] = i % 2 ? recv_case(r) : send_case(s, i);
    publish(&w[i], &k[i], 1, RL_RANDOM, &won);
  }
  rl_chan_close(r);
  rl_chan_close(s);
  for (int i = 0; i < WAITERS; i++) {
    CHECK(conclude(&w[i], &k[i], 1, &won) == RL_CLOSED && won == 0, "close wakes every waiter");
    if (i % 2 == 0) CHECK(k[i].msg.u.i == i, "a value not sent stays with its sender");
  }
  drop_chan(r);
  drop_chan(s);
}

typedef struct stream {
  rl_chan *c;
  int64_t first;
  atomic_llong *sum;
} stream;

enum { STREAM = 3000, SIDES = 3 };

static void *send_stream(void *arg) {
  stream *s = arg;
  rl_waiter w;
  rl_waiter_open(&w);
  for (int64_t i = 0; i < STREAM; i++)
    if (send_number(&w, s->c, s->first + i) != RL_OK) CHECK(false, "sending succeeds");
  return NULL;
}

static void *recv_stream(void *arg) {
  stream *s = arg;
  rl_waiter w;
  int64_t got, last[SIDES] = {-1, -1, -1};
  bool order = true;
  rl_waiter_open(&w);
  while (recv_number(&w, s->c, &got) == RL_OK) {
    order &= got > last[got / STREAM];
    last[got / STREAM] = got;
    atomic_fetch_add(s->sum, got);
  }
  CHECK(order, "one sender's values arrive in their order");
  return NULL;
}

static void threads_hand_over(uint32_t cap) {
  rl_chan *c = rl_chan_make(cap, NULL);
  atomic_llong sum = 0;
  stream s[SIDES];
  pthread_t tx[SIDES], rx[SIDES];
  for (int i = 0; i < SIDES; i++) {
    s[i] = (stream){c, (int64_t)i * STREAM, &sum};
    tx[i] = start_thread(send_stream, &s[i]);
    rx[i] = start_thread(recv_stream, &s[i]);
  }
  for (int i = 0; i < SIDES; i++) join_thread(tx[i]);
  rl_chan_close(c);
  for (int i = 0; i < SIDES; i++) join_thread(rx[i]);
  long long n = STREAM * SIDES;
  CHECK(atomic_load(&sum) == n * (n - 1) / 2, "threads receive every value once");
  CHECK(!c->receivers.first && !c->senders.first, "and nobody stays queued");
  drop_chan(c);
}

static void undelivered_values_are_released(void) {
  static const char content[100];
  rl_chan *c = rl_chan_make(20, NULL);
  rl_wakes ws = {NULL, NULL};
  for (int i = 0; i < 13; i++) {
    rl_msg m = {.u = {.blob = rl_blob_make(content, sizeof content, NULL, 0)}, .tag = RL_MSG_BLOB};
    rl_lock_take(&c->src.lock);
    rl_chan_put(c, &m, &ws);
    rl_lock_leave(&c->src.lock);
  }
  CHECK(rl_msg_bytes() == 1300, "a channel holds what was sent");
  drop_chan(c);
  CHECK(rl_msg_bytes() == 0 && rl_chans() == 0, "and releases what was not received");
}

int main(void) {
  begin(60);
  a_ring_keeps_order();
  statuses();
  a_value_is_replaced_in_its_place();
  receivers_are_served_in_order();
  senders_are_served_in_order(0);
  senders_are_served_in_order(3);
  close_wakes_every_waiter();
  threads_hand_over(0);
  threads_hand_over(1);
  threads_hand_over(16);
  undelivered_values_are_released();
  return finish();
}
