"""Answer on loopback for a server that listens on a Unix socket.

usage: relay.py SOCKET STATE_DIR

Each run of act has a network of its own, with nothing in it but loopback; the file system is the
same for all. So several runs reach one double of GitHub through its socket. STATE_DIR/port holds
the port as soon as it is open.
"""

import asyncio
import sys
from pathlib import Path


async def main(socket: Path, state: Path) -> None:
    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        beyond_reader, beyond_writer = await asyncio.open_unix_connection(socket)
        await asyncio.gather(copy(reader, beyond_writer), copy(beyond_reader, writer))

    server = await asyncio.start_server(relay, "127.0.0.1", 0)
    new = state / "port.new"
    new.write_text(str(server.sockets[0].getsockname()[1]))
    new.rename(state / "port")
    await server.serve_forever()


async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
    except ConnectionError:
        pass  # the one who does not listen any more is the one to say why
    finally:
        writer.close()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), Path(sys.argv[2])))
