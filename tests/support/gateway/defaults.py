"""Types of resources, and the config that a new one begins with: `resources/type`.

Names of fields are those of vendor documentation (8.3, keys of the types of Transmission and
Engine). Values are its defaults where it names them, else those of its sample scripts. The name
of the field with the kind of a history store is not documented for 8.3: here it is that of 8.1
(`TransmissionHistoryStoreType`, "IN_MEMORY" or "DISK_BACKED") with a small first letter.
"""

TX = "com.cirruslink.mqtt.transmission.gateway"
ENGINE = "com.cirruslink.mqtt.engine.gateway"

STORE = {
    "transmissionHistoryStoreType": "IN_MEMORY",
    "historyMaxSize": 500,
    "historyMaxAge": 44640,
    "flushQuantity": 10000,
    "flushPeriod": 200,
    "rollingHistoryBufferEnabled": False,
}
SERVER_SET = {"primaryHostId": "", "rpcClientEnabled": False}
SERVER = {
    "url": "tcp://localhost:1883",
    "serverSet": "Default",
    "username": "",
    "password": None,
    "keepAlive": 30,
    "reconnectDelay": 1000,
    "hostnameVerification": True,
    "caCertFile": None,
    "mqttServerConnectionEnabled": True,
    "dataFormatTypeWrapper": "Sparkplug_B_v1_0_Protobuf",
    "subscribeToLegacyStateTopic": True,
}
TRANSMITTER = {
    "groupId": "",
    "edgeNodeId": "",
    "deviceId": None,
    "tagProvider": "default",
    "tagPath": "",
    "tagPacingPeriod": 1000,
    "serverSet": "Default",
    "convertUdts": True,
    "publishUdtDefinitions": True,
    "optimizeUdts": True,
    "aliasedTags": False,
    "compressionTypeWrapper": "NONE",
    "blockCommands": True,
    "historyStore": None,
    "enableStoreForwardByDefault": True,
    "inOrderHistory": False,
    "rebirthDebounceDelay": 5000,
    "alarmEventEnable": False,
    "includeSparkplugDataTypes": True,
    "useCirrusEncoder": True,
    "filteredProperties": "accessRights;clampMode",
}
ENGINE_GENERAL = {
    "enableBdSeqChecking": False,
    "metricTimestampValidation": True,
    "blockNodeCommands": True,
    "blockDeviceCommands": True,
}

DEFAULTS = {
    f"{TX}/history-store": STORE,
    f"{TX}/server-set": SERVER_SET,
    f"{TX}/server": SERVER,
    f"{TX}/transmitter": TRANSMITTER,
    f"{TX}/general": {"enabled": True},
    f"{ENGINE}/general": ENGINE_GENERAL,
}
SINGLETONS = {f"{TX}/general", f"{ENGINE}/general"}
