// Package api answers for a log of activities over HTTP: lists, trees,
// statistics, a summary in words, exports, and a live stream over WebSocket
// and server-sent events.
//
// [New] takes a [Config] and returns an [API], which is an http.Handler. What
// it reads comes through [Reader]; it keeps no activity of its own beyond the
// ring that its streams share. [NewServer] gives an http.Server with the limits
// that the handler counts on, and [API.Shutdown] closes the streams, which
// http.Server.Shutdown does not know of:
//
//	handler, err := api.New(api.Config{Reader: index})
//	…
//	server := api.NewServer(handler, logger)
//	go server.Serve(listener)
//	…
//	err = errors.Join(handler.Shutdown(ctx), server.Shutdown(ctx))
//
// Every request passes the same door first: the Host it names must be ours,
// its Origin must be ours or absent, and off loopback it carries a token.
// docs/api.md describes the interface as its users see it; /openapi.json
// describes it for machines, and a test holds that document against the
// running server.
package api
