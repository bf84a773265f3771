"""Search by Katib: the component's face and its launcher; the engine itself is the room ``katib``."""
